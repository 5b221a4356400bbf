"""Attachments of the reference plugins as they are now: libcni's file, the interface, the rules."""

from __future__ import annotations

import os

from cni_cnm.adopt import living
from cni_cnm.cnm.records import READY as READY_RECORD
from cni_cnm.cnm.records import load_endpoint
from cni_cnm.errors import CnmError, DamagedRecord, IoFailed, NamespaceGone
from cni_cnm.model import EndpointKey
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import cache, discover
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni_cnm.adopt.living import Living
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.cache import Cached
    from cni_cnm.reference.host_rules import HostRules

READY, LEFT, TAKEN = "ready", "left alone", "taken over"


class Pod(NamedTuple):
    """An attachment of a network."""

    key: EndpointKey
    state: str
    """READY, LEFT or TAKEN."""
    reason: str = ""
    """Why it is left alone, a clause."""
    cached: Cached | None = None
    """None: libcni's cache does not know it."""
    living: Living | None = None
    attachment: Attachment | None = None
    """As the plugins have made it, where it is ready."""
    record: EndpointRecord | None = None
    """Of one that is taken over."""

    @property
    def shown(self) -> str:
        return f"{self.key.ifname} of the container {self.key.container_id}"

    @property
    def addresses(self) -> Sequence[str]:
        record = self.living.record if self.living else self.record
        return [str(one.interface) for one in record.addresses] if record else []


class Look:
    """Looks at the attachments of one network.

    Args:
        network: its record, or what that is going to be.
        folder: libcni's folder of results.
        owner: whose a container is, by its id.
    """

    def __init__(self, host: Host, network: NetworkRecord, folder: str, owner: Callable[[str], str]) -> None:
        self._host = host
        self.network = network
        self._owner = owner
        self.folder = folder

    def all(self) -> list[Pod]:
        """In the order in which they were attached: of a container's interfaces the first has the default route."""
        seen = discover.read_all(self._host.namespaces, self.folder)
        mine = [one for one in seen.attachments if one.key.network == self.network.name]
        return [self._pod(one) for one in sorted(mine, key=self._age)]

    def once_more(self, key: EndpointKey, seen: HostRules) -> Pod | None:
        """One of them, now, with the host's rules of a moment ago. None if it was deleted."""
        cached = self.cached(key)
        return None if cached is None else self._pod(self.attachment(cached, seen))

    def cached(self, key: EndpointKey) -> Cached | None:
        """What libcni keeps of an attachment; None if it was deleted."""
        try:
            return cache.parse(small_files.read(cache.path(key, self.folder)))
        except FileNotFoundError:
            return None
        except DamagedRecord as error:
            raise DamagedRecord(f"{cache.path(key, self.folder)} is not understood: {error.msg}") from error
        except OSError as error:
            raise IoFailed(f"{cache.path(key, self.folder)} cannot be read: {error.strerror}") from error

    def attachment(self, cached: Cached, seen: HostRules) -> Attachment:
        """What the plugins have made of it, with what of it is not understood."""
        return discover.look(cached, self._host.namespaces, self._host.stack, seen)

    def _pod(self, found: Attachment) -> Pod:
        key, cached = found.key, found.cached
        made = load_endpoint(self._host.store, key.id)
        if made is not None and self.is_of(made, cached):
            return Pod(key, TAKEN, cached=cached, record=made)
        try:
            alive = living.look(self._host, cached, self.network, self._owner(key.container_id))
        except NamespaceGone:
            return Pod(key, LEFT, "its network namespace does not exist", cached)
        except CnmError as error:
            return Pod(key, LEFT, error.msg, cached)
        if found.not_understood:
            return Pod(key, LEFT, "; ".join(found.not_understood), cached, alive)
        return Pod(key, READY, "", cached, alive, found)

    def is_of(self, made: EndpointRecord, cached: Cached) -> bool:
        """Whether a record is of this attachment, not of an earlier one of the container."""
        links = {link.get("name") for link in cached.result.get("interfaces", ()) if not link.get("sandbox")}
        return made.epoch == self._host.epoch and made.state == READY_RECORD and made.host_ifname in links

    def _age(self, one: Attachment) -> tuple[float, EndpointKey]:
        try:
            return os.stat(cache.path(one.key, self.folder)).st_mtime, one.key
        except OSError:
            return 0.0, one.key
