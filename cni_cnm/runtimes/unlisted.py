"""Endpoints of CNI and netavark that their runtime does not list, and that no process uses: leftovers.

A list may be wrong: a runtime with an empty new store lists nothing, while the containers of the old one live. So an
endpoint with a process in its namespace stays, whatever the runtime says. So does one that is new: containerd 1
attaches a pod first, then may fetch an image, and only then has the pod's container and first process.
"""

from __future__ import annotations

import os
import time

from cni_cnm.cnm.endpoint.locked_endpoint import locked
from cni_cnm.cnm.endpoint.take_down_endpoint import take_down
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import CnmError, NoSuchEndpoint, raise_gathered
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.runtimes.runtime import Runtime


NEW_S = 900.0
"""Longer than a runtime needs for an image between a pod's ADD and its first process."""


class Identity(NamedTuple):
    """What tells an attachment from a later one of the same container and interface."""

    endpoint: str
    request: str
    cookie: int
    inode: int


class Found(NamedTuple):
    """One look at records, runtimes and processes."""

    leftover: Mapping[Identity, tuple[EndpointRecord, str]]
    """Endpoints that may be removed, each with the reason, a phrase."""
    kept: Sequence[str]
    """A sentence for each owner of whose endpoints nothing is known, and for each endpoint that is in use or new."""


def look(host: Host, runtimes: Sequence[Runtime]) -> Found:
    """Takes no lock and writes nothing."""
    leftover: dict[Identity, tuple[EndpointRecord, str]] = {}
    kept: list[str] = []
    lists: dict[str, frozenset[str] | None] = {}
    for record in endpoint_records(host.store):
        if not record.of_runtime or record.docker_network or not record.container_id:
            continue
        if record.owner not in lists:
            lists[record.owner] = _listed(record.owner, runtimes, kept)
        listed = lists[record.owner]
        if listed is None or record.container_id in listed:
            continue
        why = f"{_named(record.owner, runtimes).name} does not have its container"
        if _is_used(host, record):
            kept.append(f"the endpoint {record.shown} is kept: {why}, but a process is in its network namespace")
        elif _is_new(host, record):
            kept.append(f"the endpoint {record.shown} is kept: {why} yet, and it was attached less than 15 minutes ago")
        else:
            leftover[identity(record)] = record, why
    return Found(leftover, kept)


def identity(record: EndpointRecord) -> Identity:
    return Identity(record.id, record.request_id, record.netns_cookie, record.netns_inode)


def remove(host: Host, record: EndpointRecord) -> bool:
    """Take it down, unless it has changed or a process has come. False if it stays. Errors as of a DEL."""
    try:
        with locked(host, record) as endpoint:
            if identity(endpoint.record) != identity(record) or _is_used(host, endpoint.record):
                return False
            raise_gathered(take_down(endpoint, {}).errors)
    except NoSuchEndpoint:
        return False
    return True


def _named(owner: str, runtimes: Sequence[Runtime]) -> Runtime:
    return next(runtime for runtime in runtimes if owner in runtime.owners)


def _listed(owner: str, runtimes: Sequence[Runtime], kept: list[str]) -> frozenset[str] | None:
    if not any(owner in runtime.owners for runtime in runtimes):
        kept.append(f"endpoints of {owner} are kept: no runtime of that name can be asked")
        return None
    try:
        return _named(owner, runtimes).containers()
    except CnmError as error:
        kept.append(f"endpoints of {owner} are kept: {error}")
        return None


def _is_new(host: Host, record: EndpointRecord) -> bool:
    """Its record was written a short time ago. Also if that cannot be seen: it is being removed."""
    try:
        written = os.stat(host.store.place(ENDPOINTS, record.id)).st_mtime
    except OSError:
        return True
    return time.time() - written < NEW_S


def _is_used(host: Host, record: EndpointRecord) -> bool:
    """Whether a process is in the namespace, or may be. A runtime has a list only where its processes are seen."""
    return not record.netns_inode or host.namespaces.has_process(record.netns_inode)
