"""The interfaces and addresses of a CNI result, of any version that libcni caches."""

from __future__ import annotations

from cni_cnm.fields import Fields
from cni_cnm.model import Address, Interface
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json


class Result(NamedTuple):
    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    """All of them, in the result's order."""
    of: tuple[int | None, ...] = ()
    """For each address which of `interfaces` has it; None if it does not say."""


def parse(raw: Mapping[str, Json]) -> Result:
    """InvalidConfig for a wrong value. Before 0.3.0 a result has no interfaces."""
    fields = Fields(raw, "result.")
    interfaces = tuple(map(_interface, fields.objects("interfaces")))
    if "ips" not in fields:
        old = [fields.object(name) for name in ("ip4", "ip6") if name in fields]
        found = [_address(one, "ip") for one in old]
        return Result(interfaces, tuple(found), (None,) * len(found))
    ips = fields.objects("ips")
    of = tuple(one.whole("interface") if "interface" in one else None for one in ips)
    return Result(interfaces, tuple(_address(one, "address") for one in ips), of)


def _interface(fields: Fields) -> Interface:
    return Interface(fields.text("name"), fields.text("mac"), sandbox=fields.text("sandbox"))


def _address(fields: Fields, key: str) -> Address:
    interface = fields.interface(key)
    if interface is None:
        raise fields.wrong(key, "an address with its prefix length")
    return Address(interface, fields.address("gateway"))
