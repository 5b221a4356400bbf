"""The whole explanation: the packet's way, the way of the answer, and what that means."""

from __future__ import annotations

from collections import Counter

from cni_cnm.explain.packet import PROTOCOLS, protocol_name
from cni_cnm.explain.verdict import DELIVERED, DROPPED, HOST, LEAVES, NOTE, UNKNOWN, Step, Verdict
from cni_cnm.explain.walk import Trip, Walk, answer_of
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.question import Question
    from cni_cnm.explain.space import Space
    from cni_cnm.explain.world import World

REACHED, REFUSED = "reached", "refused"
NO_ANSWER = "no answer"
"""The packet arrives, and its answer does not."""


class Explanation(NamedTuple):
    question: Question
    trip: Trip
    answer: Trip | None
    """None where the packet is not delivered on this host."""
    listens: bool | None
    """Whether a process waits on the port; None where no port is meant."""

    @property
    def outcome(self) -> str:
        """REACHED, REFUSED, LEAVES, DROPPED, NO_ANSWER or UNKNOWN."""
        if self.trip.verdict.outcome != DELIVERED or self.answer is None:
            return self.trip.verdict.outcome
        if self.listens is False:
            return REFUSED
        if self.answer.verdict.outcome == DROPPED:
            return NO_ANSWER
        return UNKNOWN if self.answer.verdict.outcome == UNKNOWN else REACHED

    @property
    def verdict(self) -> Verdict:
        """The one that decided."""
        if self.answer is not None and self.outcome in (NO_ANSWER, UNKNOWN):
            return self.answer.verdict
        return self.trip.verdict

    @property
    def sentence(self) -> str:
        verdict = self.verdict
        if self.outcome == REACHED:
            return f"it arrives at {self.trip.verdict.where}, and the answer comes back"
        if self.outcome == REFUSED:
            packet = self.trip.packet
            name = protocol_name(packet.protocol)
            return f"it arrives at {self.trip.verdict.where}, where no process waits on {name} port {packet.dport}"
        if self.outcome == LEAVES:
            return f"{verdict.reason}; what happens there is not seen from here"
        if self.outcome == NO_ANSWER:
            arrives = f"it arrives at {self.trip.verdict.where}"
            return f"{arrives}, and the answer is dropped at {verdict.where}: {verdict.reason}"
        return f"at {verdict.where}: {verdict.reason}"


def explain(world: World, question: Question) -> Explanation:
    world.forget()
    trip = Walk(world).run(question.space, question.packet, question.link)
    trip = trip._replace(steps=(*_tracked(world, question), *trip.steps))
    if trip.verdict.outcome != DELIVERED or trip.space is None:
        return Explanation(question, trip, None, None)
    listens = _listens(trip.space, trip)
    if listens is not None:
        name = protocol_name(trip.packet.protocol)
        text = f"{'a' if listens else 'no'} process waits on {name} port {trip.packet.dport}"
        trip = trip._replace(steps=(*trip.steps, Step(str(trip.space), "socket", text, "ok" if listens else NOTE)))
    return Explanation(question, trip, _answer(world, question, trip), listens)


def _tracked(world: World, question: Question) -> list[Step]:
    """Connections that exist keep the target that they began with: what is said here is of a new one."""
    packet = question.packet
    known = world.host.stack.tracked(packet.dst, packet.protocol, packet.dport)
    if question.link is None and not packet.src.is_unspecified:
        known = [one for one in known if one.source == packet.src]
    if not known:
        return []
    counts = Counter(str(one.answers) for one in known)
    targets = ", ".join(f"{count} to {target}" for target, count in counts.most_common(3))
    return [
        Step(HOST, "conntrack", f"of earlier packets to there: {targets}; these connections stay as they are", NOTE)
    ]


def _answer(world: World, question: Question, trip: Trip) -> Trip:
    if trip.space is None:
        raise TypeError("an answer comes from where the packet is")
    answer = Walk(world).run(trip.space, answer_of(trip.packet))
    sender, asked = question.space, question.packet
    if answer.verdict.outcome not in (DELIVERED, LEAVES):
        return answer
    if question.link is not None and answer.verdict.outcome == DELIVERED:
        reason = "the answer does not leave this host"
    elif question.link is None and answer.verdict.outcome == LEAVES:
        reason = f"the answer leaves this host, and {sender} has asked"
    elif question.link is None and answer.space is not sender:
        reason = f"the answer arrives at {answer.space}, not at {sender}"
    elif (answer.packet.src, answer.packet.sport) != (asked.dst, asked.dport):
        reason = f"the answer comes from {answer.packet.src}, and {asked.dst} was asked, so it is not taken"
    else:
        return answer
    return answer._replace(verdict=Verdict(DROPPED, str(answer.space), reason))


def _listens(space: Space, trip: Trip) -> bool | None:
    packet = trip.packet
    name = next((name for name, number in PROTOCOLS.items() if number == packet.protocol and packet.dport), "")
    if name not in ("tcp", "udp"):
        return None
    waiting = [address for address, port in space.stack.listeners(name) if port == packet.dport]
    everywhere = any(one.is_unspecified and (one.version == 6 or packet.version == 4) for one in waiting)
    return everywhere or packet.dst in waiting
