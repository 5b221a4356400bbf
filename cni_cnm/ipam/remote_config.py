"""The ipam object of a network whose IPAM is a Docker plugin: the pools that are requested.

    {"type": "NAME", "subnet": "10.1.0.0/16", "ipRange": "10.1.5.0/24", "gateway": "10.1.0.1",
     "auxAddresses": {"router": "10.1.0.2"}, "options": {"KEY": "TEXT"}, "addressSpace": "SPACE"}

One subnet of each IP version; the second one with `ranges`, [[{…}], [{…}]], as in host-local. Without a subnet the
plugin chooses one.
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig, shown
from cni_cnm.fields import Fields
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.validate import network_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import IPAddress, IpamSpec, IPNetwork

_ONE_POOL = "an IPAM plugin is asked for one pool of each IP version"
_HOST_LOCAL_ONLY = ("rangeStart", "rangeEnd", "dataDir", "resolvConf")


class WantedPool(NamedTuple):
    version: int
    pool: IPNetwork | None = None
    """None: the plugin chooses."""
    part: IPNetwork | None = None
    """The part of it that addresses come from (`ipRange`)."""
    gateway: IPAddress | None = None
    aux: Mapping[str, IPAddress] = {}
    """Reserved addresses by name."""


def parse(spec: IpamSpec, families: Sequence[int]) -> list[WantedPool]:
    """The pools, IPv4 first. `families`: the IP versions (4, 6) that a network without subnet has.

    InvalidConfig names the key that is wrong.
    """
    ipam = _fields(spec)
    for key in _HOST_LOCAL_ONLY:
        if key in ipam:
            raise InvalidConfig(
                f"ipam.{key} is not for the IPAM plugin {spec.type}",
                hint='the part of a subnet that addresses come from is "ipRange", a network in CIDR notation',
            )
    listed = [ipam] if ipam.text("subnet") else []
    for number, members in enumerate(ipam.items("ranges")):
        if not isinstance(members, list) or len(members) != 1:
            raise InvalidConfig(
                f"ipam.ranges[{number}] is {shown(members)}, it must be a list of one subnet", hint=_ONE_POOL
            )
        listed.append(Fields(members[0], f"ipam.ranges[{number}][0]."))
    found = [_wanted(one) for one in listed]
    if len({one.version for one in found}) < len(found):
        raise InvalidConfig("the ipam has two subnets of the same IP version", hint=_ONE_POOL)
    if not listed:
        _refuse_without_subnet(ipam)
        return [WantedPool(version) for version in families]
    found += [WantedPool(version) for version in families if version == 6 and 6 not in {one.version for one in found}]
    return sorted(found, key=lambda one: one.version)


def options(spec: IpamSpec) -> Mapping[str, str]:
    """Docker's `--ipam-opt`."""
    return _fields(spec).text_mapping("options")


def address_space(spec: IpamSpec) -> str:
    """ "" for the plugin's default."""
    return _fields(spec).text("addressSpace")


def _fields(spec: IpamSpec) -> Fields:
    """The object as it was written: the names of options and auxiliary addresses keep their capitals."""
    written = next((value for key, value in spec.conf.items() if key.lower() == "ipam"), None)
    return Fields(written or dict(spec.config), "ipam.")


def _wanted(fields: Fields) -> WantedPool:
    pool = fields.required("subnet", network_of)
    part, gateway = fields.parsed("ipRange", network_of), fields.address("gateway")
    if part is not None and not (part.version == pool.version and part.subnet_of(pool)):  # type: ignore[arg-type]
        raise fields.wrong("ipRange", f"a part of {pool}")
    if gateway is not None and gateway not in pool:
        raise fields.wrong("gateway", f"an address of {pool}")
    names = fields.object("auxAddresses")
    aux: dict[str, IPAddress] = {}
    for name in names.spelled:
        address = names.address(name)
        if address is None or address not in pool:
            raise names.wrong(name, f"an address of {pool}")
        aux[name] = address
    return WantedPool(pool.version, pool, part, gateway, aux)


def _refuse_without_subnet(ipam: Fields) -> None:
    for key in ("ipRange", "gateway", "auxAddresses"):
        if ipam.raw(key):
            raise InvalidConfig(f"ipam.{key} is given without ipam.subnet", hint="add the subnet that it is in")
