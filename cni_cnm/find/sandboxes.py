"""Sandboxes: network namespaces that endpoints have joined, of all frontends, and whether they are still there."""

from __future__ import annotations

from cni_cnm.cnm.records import endpoint_records, sandbox_records
from cni_cnm.cnm.sandbox import namespace_identity, sandbox_endpoints
from cni_cnm.errors import NamespaceGone, NoSuchEndpoint, NoSuchSandbox
from cni_cnm.find.endpoint_names import named
from cni_cnm.find.endpoints import find_of_one_container
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.find.endpoint_names import NamedEndpoint

THERE, GONE, REPLACED = "ready", "gone", "replaced"
"""The namespace is there, its path leads nowhere, or it leads to another namespace."""


class FoundSandbox(NamedTuple):
    """A namespace with the endpoints that have joined it."""

    id: str
    """64 hex digits, which follow from the container's id, or from the path for Docker's."""
    container: str
    """Pod, Docker's name, or container id."""
    container_id: str
    netns: str
    endpoints: Sequence[NamedEndpoint]
    gateways: Mapping[int, str]
    """IP version to the id of the endpoint that has the default route."""


def sandboxes(host: Host) -> Sequence[FoundSandbox]:
    """All of this host, by the name of their container."""
    records = [record for record in endpoint_records(host.store) if record.netns]
    grouped: dict[tuple[str, str], list[NamedEndpoint]] = {}
    for endpoint in named(host, records):
        grouped.setdefault((endpoint.record.container_id, endpoint.record.netns), []).append(endpoint)
    found = [_sandbox(host, members) for members in grouped.values()]
    containers = {container_id for container_id, _ in grouped}
    found += [  # made by the library, and nothing has joined
        FoundSandbox(record.id, record.container_id, record.container_id, record.netns, (), {})
        for record in sandbox_records(host.store, host.epoch)
        if record.container_id not in containers
    ]
    return sorted(found, key=lambda one: (one.container, one.id))


def find_sandbox(host: Host, wanted: str) -> FoundSandbox:
    """By what finds one of its endpoints, or by its own id or the beginning of it.

    Raises:
        NoSuchSandbox: no sandbox is meant.
        InvalidConfig: endpoints of several containers are meant.
    """
    try:
        first = find_of_one_container(host, wanted)[0].record
        found = [one for one in sandboxes(host) if any(each.record.id == first.id for each in one.endpoints)]
    except NoSuchEndpoint:
        known = sandboxes(host) if wanted else ()
        found = [one for one in known if wanted in (one.container_id, one.netns) or one.id.startswith(wanted)]
    if len(found) != 1:
        raise NoSuchSandbox(f"there is no sandbox {wanted[:80]!r}", hint="`cni-cnm sandbox ls` lists them")
    return found[0]


def state_of(host: Host, sandbox: FoundSandbox) -> str:
    """Whether its namespace is there, as the kernel says it. Which one Docker has made is not on record."""
    try:
        stack = host.namespaces.open(sandbox.netns)
    except NamespaceGone:
        return GONE
    try:
        there = not sandbox.endpoints or any(
            not one.record.netns_inode or namespace_identity.joined(host, one.record, stack)
            for one in sandbox.endpoints
        )
    finally:
        stack.close()
    return THERE if there else REPLACED


def _sandbox(host: Host, members: Iterable[NamedEndpoint]) -> FoundSandbox:
    members = list(members)
    first = members[0]
    known = first.record.container_id
    record = sandbox_endpoints.sandbox_of(host, known) if known else None
    order = {endpoint: position for position, endpoint in enumerate(record.endpoints)} if record else {}
    members.sort(key=lambda one: order.get(one.record.id, len(order)))
    return FoundSandbox(
        sandbox_endpoints.sandbox_id(known or first.record.netns),
        first.container,
        first.container_id,
        first.record.netns,
        members,
        sandbox_endpoints.gateways_of(host, known) if known else {},
    )
