"""Endpoints whose network namespace no longer exists, and which no runtime has deleted: they are taken down.

containerd forgets a pod of which it was killed in the middle, and never asks for GC. The evidence is the kernel's:

    path        the recorded path leads nowhere, or to another namespace
    link        the host's end of a veth pair is gone: it exists as long as the namespace of the other end
    processes   no process and no mount of the machine keeps the namespace; not known where /proc has a part of the
                processes, or without CAP_SYS_PTRACE: there, only an endpoint that had a link on the host is gone

An endpoint is taken down when this has been so for five minutes, at every look. A runtime that is slow, or is started
again, still finds its endpoint; after that its DEL finds nothing to do. Docker's are docker_endpoints.py's.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.endpoint.take_down_endpoint import take_down
from cni_cnm.cnm.reconcile.difference import Difference, Outcome
from cni_cnm.cnm.records import endpoint_records, load_endpoint
from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.drivers import drivers
from cni_cnm.errors import CnmError, NamespaceGone, raise_gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

GRACE_S = 300.0
"""From the first look that finds the namespace gone, to the removal."""
LOOK_S = 100.0
"""Between two looks. One reads the record of each endpoint."""
_LOCK_S = 10.0
"""A request that holds the endpoint longer than this is at work on it."""


def compare(host: Host) -> Iterator[Difference]:
    """Endpoints whose namespace is gone now. Takes no lock and writes nothing."""
    veths = {link.name for link in host.stack.links(kind="veth")}
    for record in endpoint_records(host.store):
        if record.host_ifname not in veths and is_gone(host, record):
            yield Difference(f"the endpoint {record.shown}", f"its namespace {record.netns} does not exist", record.id)


class GoneNamespaces:
    """What earlier looks have found."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        """Endpoints by id, with the time when they were first found."""

    def look(self, host: Host, now: float) -> Iterator[Outcome]:
        """Take down what has been gone for `GRACE_S`. `now` in seconds, of a clock that does not go back."""
        found = {difference.key: difference for difference in compare(host)}
        self._since = {key: self._since.get(key, now) for key in found}
        for key, difference in found.items():
            if now - self._since[key] >= GRACE_S:
                yield from collect(host, difference)


def collect(host: Host, difference: Difference) -> Iterator[Outcome]:
    """Take down an endpoint that `compare` has found, if that is still so."""
    try:
        if take_down_if_gone(host, difference.key):
            yield Outcome(f"{difference.sentence}; it was taken down", "repaired")
    except CnmError as error:
        yield Outcome(f"{difference.sentence}; it was not taken down: {error}", "failed")


def take_down_if_gone(host: Host, endpoint_id: str) -> bool:
    """Look again under the endpoint's lock, and take it down. Returns whether it was taken down.

    CnmError if a request holds the endpoint, or if something of it could not be removed.
    """
    with locked_endpoint.lock(host, endpoint_id, timeout_s=_LOCK_S):
        record = load_endpoint(host.store, endpoint_id)
        link = host.stack.link(record.host_ifname) if record is not None else None
        # A link of another kind was moved into the container, and the kernel has brought it back.
        if record is None or (link is not None and link.kind == "veth") or not is_gone(host, record):
            return False
        raise_gathered(take_down(LockedEndpoint(host, record), {}).errors)
    return True


def is_gone(host: Host, record: EndpointRecord) -> bool:
    """Whether the kernel shows that the endpoint's namespace is gone. The link on the host is for the caller."""
    if record.docker_network or not record.netns or not record.netns_inode or record.epoch != host.epoch:
        return False
    if _may_lead_there(host, record, record.netns):
        return False
    holders = host.namespaces.holders(record.netns_inode)
    if holders is None:
        return "veth" in drivers.get(record.driver).link_kinds
    return not any(_may_lead_there(host, record, path) for path in holders)


def _may_lead_there(host: Host, record: EndpointRecord, path: str) -> bool:
    """False if there is no namespace at `path`, or another one. A path that cannot be opened may lead there."""
    try:
        stack = host.namespaces.open(path)
    except NamespaceGone:
        return False
    except CnmError:
        return True
    with stack:
        return namespace_identity.joined(host, record, stack)
