"""A host port whose holder is about to leave is waited for: a pod that is made again at once gets it a moment later.

The runtime may call the new pod's ADD before the old one's DEL. The wait holds no lock but that of the new endpoint.
It ends when the kernel reports that the holder's elements were removed.
"""

from __future__ import annotations

from _thread import allocate_lock
from time import monotonic

from cni_cnm.cnm.records import load_owner
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import TABLES
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

    T = TypeVar("T")

_WAITING_MAX = 8
"""In one process. A worker of the service has 24 threads: enough stay free for the DELs that are waited for."""
_waiting = [allocate_lock() for _ in range(_WAITING_MAX)]


def wait(host: Host, record: EndpointRecord, taken: PortTaken, publish: Callable[[], T]) -> T:
    """`publish()` as soon as the holder has left. PortTaken if it is not leaving, or not within `port_wait` seconds."""
    place = next((one for one in _waiting if one.acquire(blocking=False)), None)
    if place is None or not _is_leaving(host, record, taken.holder):
        if place is not None:
            place.release()
        raise taken
    deadline = monotonic() + host.settings.port_wait
    try:
        with host.nft.removals(TABLES) as removals:
            while True:
                try:
                    return publish()
                except PortTaken as again:
                    left = deadline - monotonic()
                    if left <= 0 or not _is_leaving(host, record, again.holder):
                        raise
                    with waiting():
                        removals.wait(again.holder, left)
    finally:
        place.release()


def _is_leaving(host: Host, record: EndpointRecord, owner: str) -> bool:
    """Whether the endpoint whose id begins with `owner` is of a pod that `record` replaces, or that has ended."""
    holder = load_owner(host.store, owner)
    if holder is None:
        return bool(owner)  # it has just left
    if holder.docker_network:
        return False
    if record.pod.name and holder.pod[:2] == record.pod[:2]:
        return holder.pod.uid != record.pod.uid or _has_ended(host, holder)
    return holder.owner == record.owner and holder.of_runtime and _has_ended(host, holder)


def _has_ended(host: Host, holder: EndpointRecord) -> bool:
    return bool(holder.netns_inode) and not host.namespaces.has_process(holder.netns_inode)
