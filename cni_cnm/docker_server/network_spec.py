"""CreateNetwork as a network of the engine: its options and subnets, and which IPAM driver has its addresses.

`-o cni-cnm.network=NAME` shares the network that CNI calls NAME. Without it the network is Docker's own, and its name
is made of Docker's id.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from cni_cnm import validate
from cni_cnm.drivers import DEFAULT, OVERLAY, drivers
from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam.ranges import NO_GATEWAY
from cni_cnm.model import IpamSpec, NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.records import PoolRecord
    from cni_cnm.docker_protocol.network_messages import CreateNetwork, IpamData
    from cni_cnm.docker_protocol.options import NetworkOptions
    from cni_cnm.model import Json

NETWORK = "cni-cnm.network"
"""The option that names a network to share, of `-o` and of `--ipam-opt`."""
DRIVER = "cni-cnm.driver"
"""The option that names the driver, where it is not the bridge driver, of `-o` and of `--ipam-opt`."""
DRIVERS = ("", DEFAULT, OVERLAY)
SPACE = "cni-cnm"
"""The address space of this plugin's pools. Data of another space is from another IPAM driver."""
IFACE_PREFIX = "com.docker.network.container_iface_prefix"
"""An option: the names of interfaces in containers are this and a number."""
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
"""An option: the address of the host for ports that are published without one."""
DEFAULT_GATEWAYS = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}
"""Names of `--aux-address` for the containers' default gateway, where it is not the bridge's address."""
_OF_DOCKERD = frozenset(
    f"com.docker.network.{name}" for name in ("advertise_addr_nmsgs", "advertise_addr_ms", "enable_ipv4", "enable_ipv6")
)
"""Options that dockerd applies by itself."""
_UNNAMED = "unnamed-network"
"""In place of the id, which Docker has not told yet."""
_BRIDGE_NAME = "com.docker.network.bridge.name"
_ID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")


def docker_id(text: str) -> str:
    """An id of Docker's, which becomes a part of file and link names. Those of swarm are base 36."""
    if not 12 <= len(text) <= 64 or not _ID_CHARACTERS.issuperset(text):
        raise ValueError("12 to 64 lower-case letters and digits")
    return text


def shared_network(options: NetworkOptions) -> str:
    """The name of the network to share, "" for a network of Docker's own."""
    name = options.generic.get(NETWORK, "")
    return validate.require(validate.network_name, name, NETWORK) if name else ""


def subnets(message: CreateNetwork) -> Sequence[IpamData]:
    """The subnets of both IP versions. InvalidConfig if there is none, or one without addresses."""
    data = (*message.ipv4, *message.ipv6)
    if not data or not all(one.pool.prefixlen for one in data):
        raise InvalidConfig("a network of this driver needs a subnet", hint="leave out --ipam-driver null")
    return data


def network_spec(message: CreateNetwork, pools: Sequence[PoolRecord]) -> NetworkSpec:
    """The network. `pools` are those of its subnets that Docker requested from this plugin.

    InvalidConfig for an unknown option, a shared network whose addresses are not from this plugin, and subnets of two
    IPAM drivers.
    """
    shared, data = shared_network(message.options), subnets(message)
    skipped = skipped_gateways(message.options)
    driver = message.options.generic.get(DRIVER, "") or DEFAULT
    if driver not in DRIVERS:
        raise InvalidConfig(f"{DRIVER} is {driver!r}, it must be {' or '.join(filter(None, DRIVERS))}")
    other = [str(one.pool) for one in data if one.address_space != SPACE]
    if driver == OVERLAY and (other or not shared):
        raise InvalidConfig(
            f"{', '.join(other)} is from another IPAM driver, which gives the same addresses on every host"
            if other
            else "an overlay network needs the name that all hosts know it by, which Docker does not send",
            hint=f"add --ipam-driver cni-cnm --ipam-opt {NETWORK}=NAME --ipam-opt {DRIVER}={OVERLAY} -o {NETWORK}=NAME",
        )
    if shared and (other or len(pools) != len(data)):
        raise InvalidConfig(
            f"the network {shared} is shared, and only this plugin knows which of its addresses are free",
            hint=f"add --ipam-driver cni-cnm --ipam-opt {NETWORK}={shared}",
        )
    if other and pools:
        raise InvalidConfig(
            f"{', '.join(other)} is from another IPAM driver, and the other subnet from this one",
            hint="use one IPAM driver for both IP versions",
        )
    return NetworkSpec(
        shared or f"docker-{message.network_id[:12]}",
        driver,
        _driver_options(message.options, shared, message.network_id),
        IpamSpec("given" if other else "host-local", {"ranges": [[_range(one, pools, skipped)] for one in data]}),
        message.options.internal,
        labels=_kept(message, shared),
    )


def skipped_gateways(options: NetworkOptions) -> frozenset[int]:
    """IP versions of which a network with these options needs no gateway. InvalidConfig for an unknown option."""
    shared = shared_network(options)
    given = _driver_options(options, shared, _UNNAMED)
    if shared:
        return frozenset()
    driver = drivers.get(DEFAULT)
    return driver.skips_gateways(driver.options(NetworkSpec(_UNNAMED, DEFAULT, given, IpamSpec(""), options.internal)))


def _kept(message: CreateNetwork, shared: str) -> dict[str, str]:
    """What the calls about endpoints need: recorded as labels of the network, under Docker's names."""
    generic = message.options.generic
    found = {} if shared else {key: generic[key] for key in (IFACE_PREFIX, HOST_BINDING) if generic.get(key)}
    if IFACE_PREFIX in found:
        validate.require(validate.new_interface_name, f"{found[IFACE_PREFIX]}0", IFACE_PREFIX)
    if HOST_BINDING in found:
        validate.require(_ipv4, found[HOST_BINDING], HOST_BINDING)
    for data in (*message.ipv4, *message.ipv6):
        name = DEFAULT_GATEWAYS[data.pool.version]
        if name in data.aux_addresses:
            if shared:
                raise InvalidConfig(f"{name} cannot be set: the network {shared} has a gateway", hint="leave it out")
            gateway = validate.require(validate.interface, data.aux_addresses[name], name)
            if gateway.ip not in data.pool:
                raise InvalidConfig(f"{name} is {gateway.ip}, which is not in the subnet {data.pool}")
            found[name] = str(gateway.ip)
    return found


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError("an IPv4 address") from None


def _driver_options(options: NetworkOptions, shared: str, network_id: str) -> dict[str, Json]:
    return {"profile": "cnm", "labels": _labels(options, shared, network_id)}


def _labels(options: NetworkOptions, shared: str, network_id: str) -> dict[str, str]:
    ours = {NETWORK, DRIVER, *_OF_DOCKERD, *(() if shared else (IFACE_PREFIX, HOST_BINDING))}
    labels = {label: text for label, text in options.generic.items() if label not in ours}
    for label in labels:
        if not label.startswith("com.docker.network."):
            raise InvalidConfig(
                f"the option {label} is not known",
                hint=f"known: {NETWORK}, {DRIVER} and the bridge driver's com.docker.network.*",
            )
    if not shared:
        labels.setdefault(_BRIDGE_NAME, f"br-{network_id[:12]}")
    return labels


def _range(data: IpamData, pools: Sequence[PoolRecord], skipped: frozenset[int]) -> dict[str, Json]:
    """The range of a subnet. `--ip-range` is not a part of it: the pool's record has that."""
    gateway = str(data.gateway.ip) if data.gateway is not None else ""
    gateway = gateway or next((pool.gateway for pool in pools if pool.subnet == str(data.pool)), "")
    without: dict[str, Json] = {NO_GATEWAY: True} if data.pool.version in skipped else {}
    return {"subnet": str(data.pool), **({"gateway": gateway} if gateway else without)}
