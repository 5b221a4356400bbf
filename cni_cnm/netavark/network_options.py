"""The options of a podman network: those of netavark's bridge driver, as the bridge driver here reads them.

    mtu                       bytes; else that of the link of the default route
    isolate                   strict (default): nothing but published ports from other networks and other hosts
                              true: nothing from other isolated networks; false: everything
    metric                    of the default routes; else one network of a container has the default route
    no_default_route          true: the container gets none by this network
    vlan                      the VLAN of the containers' ports
    mode                      managed (default); unmanaged: a bridge that exists, without address and rules of ours
    outbound_addr4, …addr6    the address that packets leave the host with

Also Docker's names com.docker.network.driver.mtu and com.docker.network.bridge.name, as netavark takes them.
"""

from __future__ import annotations

from cni_cnm.drivers.bridge_options import LABEL_NAME, METRIC_MAX
from cni_cnm.drivers.firewall_options import (
    CLOSED,
    LABEL_MODE4,
    LABEL_MODE6,
    LABEL_SOURCE4,
    LABEL_SOURCE6,
)
from cni_cnm.drivers.options import LABEL_MTU, MTU_HIGH
from cni_cnm.errors import InvalidConfig, UnsupportedField
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json
    from cni_cnm.netavark.messages import PodmanNetwork

_KNOWN = (
    "mtu", "isolate", "metric", "no_default_route", "vlan", "mode", "outbound_addr4", "outbound_addr6", LABEL_MTU,
    LABEL_NAME,
)  # fmt: skip
_POLICIES = {"strict": "same-bridge", "true": "routed", "false": "open"}
"""`isolate` as `ingressPolicy`."""
_SOURCES = {"outbound_addr4": (4, LABEL_SOURCE4), "outbound_addr6": (6, LABEL_SOURCE6)}


def is_managed(network: PodmanNetwork) -> bool:
    mode = network.options.get("mode") or "managed"
    if mode not in ("managed", "unmanaged"):
        raise InvalidConfig(f"the option mode is {mode!r}, it must be managed or unmanaged")
    return mode == "managed"


def bridge_name(network: PodmanNetwork) -> str:
    """The name of the network's bridge; "" if none is given."""
    return network.options.get(LABEL_NAME) or network.interface


def driver_options(network: PodmanNetwork) -> dict[str, Json]:
    """`NetworkSpec.options`. InvalidConfig for a wrong value, UnsupportedField for an option that is not served."""
    for key in network.options:
        if key not in _KNOWN:
            raise UnsupportedField(f"the network option {key} is not supported", hint=f"supported: {', '.join(_KNOWN)}")
    raw, managed = Fields(network.options, "the option ", words=True), is_managed(network)
    labels = {LABEL_NAME: bridge_name(network) or f"br-{network.id[:12]}"}
    found: dict[str, Json] = {
        "profile": "cnm",
        "nodefaultroute": raw.flag("no_default_route"),
        "metric": raw.whole("metric", 0, 0, METRIC_MAX),
        "vlan": raw.whole("vlan", 0, 0, 4094),
        "labels": labels,
    }
    if mtu := raw.whole("mtu", 0, 0, MTU_HIGH) or raw.whole(LABEL_MTU, 0, 0, MTU_HIGH):
        found["mtu"] = mtu
    if not managed:
        _refuse_rules(network)
        return {**found, "unmanaged": True}
    isolate = network.options.get("isolate") or "strict"
    if isolate not in _POLICIES:
        raise InvalidConfig(f"the option isolate is {isolate!r}, it must be {', '.join(_POLICIES)}")
    found["ingresspolicy"] = "same-bridge" if network.internal and isolate == "true" else _POLICIES[isolate]
    for key, (version, label) in _SOURCES.items():
        address = raw.address(key)
        if address is not None and address.version != version:
            raise raw.wrong(key, f"an IPv{version} address")
        if address is not None:
            labels[label] = str(address)
    without = {subnet.pool.version for subnet in network.subnets if subnet.gateway is None}
    if network.internal:
        labels.update({label: CLOSED for version, label in ((4, LABEL_MODE4), (6, LABEL_MODE6)) if version in without})
    return found


def _refuse_rules(network: PodmanNetwork) -> None:
    """An unmanaged network has no rules of ours."""
    for key in ("isolate", *_SOURCES):
        if network.options.get(key) not in (None, "", "false"):
            raise InvalidConfig(
                f"the option {key} is given, and mode is unmanaged: its packets get no rules",
                hint="leave out one of the two",
            )
