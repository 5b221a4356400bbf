"""What is on disk of a network that was taken over, or that is being taken over or released.

    STATE_DIR/adopt/NETWORK.json     written before the first effect, deleted after the last one of a release

Every step of both directions can be repeated, so the record has no steps: only which way it goes, and what files had
before. After a kill the next `adopt` or `release` goes that way from wherever it stopped.
"""

from __future__ import annotations

import base64
import os
from contextlib import ExitStack, contextmanager

from cni_cnm.errors import TryAgain, Unfinished
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.record_reader import read, readable
from cni_cnm.state.store import ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Json
    from cni_cnm.state.store import Store

SCHEMA = 1
TAKEN, RELEASED = "adopt", "release"


class Adoption(NamedTuple):
    network: str
    way: str
    """TAKEN or RELEASED."""
    done: bool
    path: str
    """The file that configures the network."""
    before: bytes
    """What it had."""
    after: bytes
    """What it has with this program's entry."""
    cache: str
    """libcni's folder of results."""
    cached: Mapping[str, bytes] = {}
    """By endpoint's id: what libcni's file had of each that was taken over."""
    forms: tuple[str, ...] = ()
    """Where the plugins keep masquerade, and published ports: `iptables` or `nftables`. Empty: nothing of it."""
    older_portmap: bool = False
    """Its rules are those of an older portmap: before 1.3 in iptables (no masqAll), 1.6 to 1.8 in nftables."""

    def to_json(self) -> Json:
        return {
            "schema": SCHEMA,
            "network": self.network,
            "way": self.way,
            "done": self.done,
            "path": self.path,
            "before": _text(self.before),
            "after": _text(self.after),
            "cache": self.cache,
            "cached": {key: _text(value) for key, value in self.cached.items()},
            "forms": list(self.forms),
            "older_portmap": self.older_portmap,
        }

    @classmethod
    def from_json(cls, raw: Json) -> Adoption:
        return cls(
            raw["network"],
            raw["way"],
            raw["done"],
            raw["path"],
            _bytes(raw["before"]),
            _bytes(raw["after"]),
            raw["cache"],
            {key: _bytes(value) for key, value in raw["cached"].items()},
            tuple(raw["forms"]),
            raw.get("older_portmap", False),
        )

    def save(self, host: Host) -> None:
        host.store.put(ADOPT, self.network, self.to_json())


def load(store: Store, network: str) -> Adoption | None:
    return read(store, ADOPT, network, Adoption.from_json)


def adoptions(store: Store) -> Iterator[Adoption]:
    """By network."""
    return readable(store, ADOPT, lambda name: load(store, name))


@contextmanager
def lock(host: Host, network: str) -> Iterator[None]:
    """One at a time for each network. TryAgain if another process has it."""
    with ExitStack() as held:
        try:
            held.enter_context(host.store.lock(f"adopt/{network}", timeout_s=0.0))
        except TryAgain as error:
            raise TryAgain(
                f"another process is taking over or releasing the network {network}",
                hint=f"wait until it has ended; then `cni-cnm adopt {network}` shows what is left to do",
            ) from error
        yield


def after_network_removal(host: Host, network: str) -> list[str]:
    """Of a network that was just removed: without its file, nothing is left to put back, and the record is deleted.

    Else a sentence that says what to do.
    """
    state = load(host.store, network)
    if state is None:
        return []
    if state.done and not os.path.exists(state.path):
        try:
            with lock(host, network):
                host.store.delete(ADOPT, network)
        except TryAgain as error:
            return [str(error)]
        return []
    return [f"the plugins' own {state.path} is kept: `cni-cnm release {network} --yes` puts it back"]


def unfinished(adoption: Adoption) -> Unfinished:
    name = adoption.network
    if adoption.way == TAKEN:
        return Unfinished(
            f"the network {name} is being taken over, and that has not ended",
            hint=f"`cni-cnm adopt {name} --yes` goes on, `cni-cnm release {name} --yes` goes back",
        )
    return Unfinished(
        f"the network {name} is being released, and that has not ended",
        hint=f"`cni-cnm release {name} --yes` goes on, `cni-cnm adopt {name} --yes` goes back",
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
