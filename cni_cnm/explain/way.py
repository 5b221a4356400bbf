"""What every part of the walk writes to: the steps, and the namespaces."""

from __future__ import annotations

from cni_cnm.explain import hooks, legacy
from cni_cnm.explain.hooks import NAMES, Passed
from cni_cnm.explain.rules import ACCEPT, DROP
from cni_cnm.explain.verdict import NOTE, OK, Ended, Step, dropped, unknown
from cni_cnm.firewall import TABLES, UNDERLAY
from cni_cnm.firewall.drop_reasons import REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.rules import Hit
    from cni_cnm.explain.space import Space
    from cni_cnm.explain.world import World
    from cni_cnm.kernel import Link


class Way:
    def __init__(self, world: World) -> None:
        self.world = world
        self.steps: list[Step] = []

    def step(self, where: object, what: str, text: str, mark: str = OK) -> None:
        self.steps.append(Step(str(where), what, text, mark))

    def ip(self, space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None) -> Packet:
        """A hook of IP. Ended if a chain drops, or if that is not known."""
        packet = self._through(space, packet, hooks.ip(space, packet, hook, incoming, outgoing), NAMES[hook])
        legacy.require_passage(space, packet, hook, incoming, outgoing)
        return packet

    def bridge(
        self, space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None, bridge: Link
    ) -> Packet:
        passed = hooks.bridge(space, packet, hook, incoming, outgoing, bridge.name)
        return self._through(space, packet, passed, f"bridge {NAMES[hook]}")

    def ingress(self, space: Space, packet: Packet, link: Link) -> Packet:
        return self._through(space, packet, hooks.ingress(space, packet, link), f"ingress of {link.name}")

    def _through(self, space: Space, packet: Packet, passed: Passed, place: str) -> Packet:
        for hit in passed.hits if passed.verdict == ACCEPT else passed.hits[:-1]:
            if hit.verdict != "continue" and not hit.verdict.startswith(("jump", "goto")):
                self.step(space, f"filter {place}", _told(hit))
        if passed.verdict == DROP:
            raise _dropped(space, place, passed)
        if passed.verdict != ACCEPT:
            raise unknown(space, f"{place}: {passed.reason}")
        changed = _changes(packet, passed.packet)
        if changed:
            self.step(space, f"filter {place}", changed, NOTE)
        elif passed.chains and not passed.hits:
            self.step(space, f"filter {place}", _none(passed.chains))
        return passed.packet


def _dropped(space: Space, place: str, passed: Passed) -> Ended:
    """With the meaning of our own rule's counter, and the command that opens what it keeps apart."""
    hit = passed.hits[-1] if passed.hits else None
    owners = _owners(passed.hits[-1:])
    said = f" ({owners})" if owners else ""
    if hit is None or hit.table not in (*TABLES, UNDERLAY) or hit.counter not in REASONS:
        look = f"nft -a list chain {f'{hit.table} {hit.chain}' if hit else passed.place}"
        return dropped(space, f"{place}: {passed.reason}{said}", look)
    names = owners.split(", ")
    allow = f"cni-cnm network allow {' '.join(names)}" if hit.counter == "isolation" and len(names) == 2 else ""
    reason = f"{place}: our rule drops it: {REASONS[hit.counter]}{said}"
    return dropped(space, reason, allow or "cni-cnm drops")


def _none(chains: int) -> str:
    return (
        f"no rule matches in {chains} chains, none drops by policy"
        if chains > 1
        else "no rule matches in the one chain"
    )


def _told(hit: Hit) -> str:
    owners = _owners([hit])
    return f"{hit.table} {hit.chain}: {hit.text}{f' ({owners})' if owners else ''}"


def _owners(hits: list[Hit] | tuple[Hit, ...]) -> str:
    """Names of the owners of elements that were found: a comment is an id and a name."""
    names = (comment.partition(" ")[2] or comment for hit in hits for comment in hit.comments)
    return ", ".join(dict.fromkeys(names))


def _changes(before: Packet, after: Packet) -> str:
    found = []
    if (before.dst, before.dport) != (after.dst, after.dport):
        port = f":{after.dport}" if after.dport else ""
        found.append(f"the destination is now {after.dst}{port}")
    if (before.src, before.sport) != (after.src, after.sport):
        found.append(f"the source is now {after.src}")
    return ", ".join(found)
