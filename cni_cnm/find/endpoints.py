"""Endpoints by what an operator knows: pod, container, address, published port, interface, MAC, id or its beginning."""

from __future__ import annotations

import re

from cni_cnm import validate
from cni_cnm.cnm.records import endpoint_records, load_endpoint
from cni_cnm.errors import InvalidConfig, NoSuchEndpoint
from cni_cnm.find.endpoint_names import NamedEndpoint, named
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import PortMapping

FORMS = (
    "a pod as NAMESPACE/NAME, a container's name or id, an address, a published port, a link of the host, a MAC, "
    "a namespace's path, or the beginning of an id"
)
"""What `wanted` may be, for help texts."""
_ID = 64
"""Digits of a whole id."""
_NERDCTL = re.compile(rf".+-([0-9a-f]{{{_ID}}})")
_SHOWN = 5
"""Endpoints that a message names."""
_PORT = re.compile(r"(?:\[?(?P<address>[0-9a-fA-F.:]*?)\]?:)?(?P<port>\d{1,5})(?:/(?P<protocol>tcp|udp|sctp))?")


def find_endpoints(host: Host, wanted: str) -> Sequence[NamedEndpoint]:
    """All endpoints of this host that `wanted` means, in the order of their ids.

    The first form that any endpoint has counts: whole ids, names, then MAC, address, port (`8080`, `8080/tcp`,
    `192.0.2.1:8080`), link, path of the namespace, and last the beginning of an id.

    Raises:
        NoSuchEndpoint: no endpoint has it in any form.
    """
    return _found(host, wanted)[1]


def find_endpoint(host: Host, wanted: str) -> NamedEndpoint:
    """The one endpoint that `wanted` means.

    Raises:
        NoSuchEndpoint: there is none.
        InvalidConfig: there are several; the message names them.
    """
    form, found = _found(host, wanted)
    if len(found) > 1:
        raise _several(wanted, form, found)
    return found[0]


def find_of_one_container(host: Host, wanted: str) -> Sequence[NamedEndpoint]:
    """The endpoints that `wanted` means, all of one container: for what must not touch another one.

    Raises:
        NoSuchEndpoint: there is none.
        InvalidConfig: endpoints of several containers are meant; the message names them.
    """
    form, found = _found(host, wanted)
    if any(_sandbox(one) != _sandbox(found[0]) for one in found):
        raise _several(wanted, form, found)
    return found


def find_container(host: Host, wanted: str) -> Sequence[NamedEndpoint]:
    """The endpoints of the one container that `wanted` means: all that are in its sandbox, not only the one named.

    Raises:
        NoSuchEndpoint: there is none.
        InvalidConfig: several containers are meant; the message names their endpoints.
    """
    found = find_of_one_container(host, wanted)
    first = found[0]
    if not first.record.netns:
        return found
    records = [record for record in endpoint_records(host.store) if record.netns == first.record.netns]
    return [one for one in named(host, records) if _sandbox(one) == _sandbox(first)]


def _sandbox(endpoint: NamedEndpoint) -> tuple[str, str]:
    """The same for endpoints of one container; an endpoint that has not joined is alone."""
    record = endpoint.record
    return (endpoint.container_id, record.netns) if record.netns or record.container_id else (record.id, "")


def _found(host: Host, wanted: str) -> tuple[str, list[NamedEndpoint]]:
    """The form that counts, in words, and what it finds."""
    record = load_endpoint(host.store, wanted) if len(wanted) == _ID and wanted.isalnum() else None
    if record is not None:
        return "id", list(named(host, [record]))
    known = list(named(host, endpoint_records(host.store)))
    for form, matcher in _FORMS.items():
        matches = matcher(wanted)
        found = [endpoint for endpoint in known if matches(endpoint)] if matches and wanted else []
        if found:
            return form, found
    raise NoSuchEndpoint(f"there is no endpoint {wanted[:80]!r}", hint="`cni-cnm endpoint ls` lists them")


def _several(wanted: str, form: str, found: Sequence[NamedEndpoint]) -> InvalidConfig:
    names = [f"{one.record.id[:12]} {one.shown}" for one in found[:_SHOWN]]
    rest = f" and {len(found) - _SHOWN} others" if len(found) > _SHOWN else ""
    return InvalidConfig(
        f"{wanted[:80]!r} is the {form} of {len(found)} endpoints: {', '.join(names)}{rest}",
        hint="give the endpoint's id",
    )


# forms: text to what an endpoint must fulfil; None if the text has not this form --------------------------------------


def _container_id(wanted: str) -> Callable[[NamedEndpoint], bool]:
    return lambda one: wanted in (one.container_id, _bare(one.container_id))


def _name(wanted: str) -> Callable[[NamedEndpoint], bool]:
    """NAMESPACE/NAME, the pod's name alone, Docker's, the endpoint's own, and its label in messages."""
    return lambda one: wanted in (one.pod, one.record.pod.name, one.docker.name, one.record.name, one.record.label)


def _mac(wanted: str) -> Callable[[NamedEndpoint], bool] | None:
    if not validate.accepts(validate.mac, wanted):
        return None
    mac = validate.mac(wanted)
    return lambda one: one.mac == mac


def _address(wanted: str) -> Callable[[NamedEndpoint], bool] | None:
    try:
        address = ip_address(wanted.partition("/")[0])
    except ValueError:
        return None
    return lambda one: any(address == each.interface.ip for each in one.record.addresses)


def _port(wanted: str) -> Callable[[NamedEndpoint], bool] | None:
    parts = _PORT.fullmatch(wanted)
    if parts is None:
        return None
    try:
        address = ip_address(parts["address"]) if parts["address"] else None
    except ValueError:
        return None
    port, protocol = int(parts["port"]), parts["protocol"]

    def publishes(mapping: PortMapping) -> bool:
        everywhere = mapping.host_ip is None or mapping.host_ip.is_unspecified
        return (
            mapping.host_port <= port < mapping.host_port + mapping.size
            and protocol in (None, mapping.protocol)
            and (address is None or everywhere or mapping.host_ip == address)
        )

    return lambda one: any(map(publishes, one.record.ports))


def _link(wanted: str) -> Callable[[NamedEndpoint], bool]:
    return lambda one: one.record.host_ifname == wanted


def _path(wanted: str) -> Callable[[NamedEndpoint], bool] | None:
    return (lambda one: one.record.netns == wanted) if wanted.startswith("/") else None


def _prefix(wanted: str) -> Callable[[NamedEndpoint], bool]:
    return lambda one: any(
        known.startswith(wanted) for known in (one.record.id, one.container_id, _bare(one.container_id))
    )


def _bare(container_id: str) -> str:
    """The id without what nerdctl puts before it: its namespace and a hyphen."""
    shown = _NERDCTL.fullmatch(container_id)
    return shown[1] if shown else container_id


_FORMS: dict[str, Callable[[str], Callable[[NamedEndpoint], bool] | None]] = {
    "container id": _container_id,
    "name": _name,
    "MAC": _mac,
    "address": _address,
    "published port": _port,
    "link": _link,
    "namespace": _path,
    "beginning of an id": _prefix,
}
"""In the order in which they count."""
