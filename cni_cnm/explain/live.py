"""`explain --live`: waits for a real packet of the flow, and shows which rules of this host it meets.

Only with `--send` a packet is sent. Rules in a container's own namespace are not in the trace.
"""

from __future__ import annotations

import socket
import struct
from time import monotonic

from cni_cnm.errors import InvalidConfig, KernelError
from cni_cnm.explain.packet import ICMP, ICMP6, TCP, UDP
from cni_cnm.explain.question import OUTSIDE
from cni_cnm.explain.rules import described
from cni_cnm.explain.verdict import ENDS, HOST, NOTE, OK, Step
from cni_cnm.kernel.contract.packet_trace import TracedFlow
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.question import Question
    from cni_cnm.explain.world import World
    from cni_cnm.kernel.contract.packet_trace import PacketTrace, TraceEvent

PASSED, SEEN_DROPPED, NOT_SEEN = "passed", "dropped", "not seen"
_QUIET_S = 0.3
"""After which no more events of a packet are expected."""
_PAYLOAD = b"cni-cnm explain"


class Seen(NamedTuple):
    outcome: str
    """PASSED, SEEN_DROPPED or NOT_SEEN."""
    sentence: str
    steps: tuple[Step, ...] = ()


def traced_flow(question: Question) -> TracedFlow:
    """Of the packet as this host's rules see it first."""
    packet = question.packet
    source = packet.src
    if source.is_unspecified:
        source = question.space.stack.ask_route(packet.dst).source or source
    known = not source.is_unspecified and source not in OUTSIDE.values()
    return TracedFlow(packet.dst, packet.protocol, source if known else None, packet.dport)


def watch(world: World, question: Question, trace: PacketTrace, timeout_s: float) -> Seen:
    """The first packet that comes. The others of the flow are not shown."""
    until = monotonic() + timeout_s
    events: list[TraceEvent] = []
    while (left := until - monotonic()) > 0:
        found = trace.events(min(left, _QUIET_S) if events else left)
        for event in found:
            if _is_next_packet(events, event):
                return _told(world, question, events)
            events.append(event)
        if (events and not found) or any(event.verdict == "drop" for event in events):
            break
    if not events:
        return Seen(NOT_SEEN, f"no packet of this flow met a rule of {HOST} within {timeout_s:g} s")
    return _told(world, question, events)


def _is_next_packet(events: Sequence[TraceEvent], event: TraceEvent) -> bool:
    """A packet has another number at each hook, and passes no chain at two of them."""
    place = event.table, event.chain
    return any((one.table, one.chain) == place and one.packet != event.packet for one in events)


def _told(world: World, question: Question, events: Sequence[TraceEvent]) -> Seen:
    steps = tuple(_step(world, question.packet, event) for event in events)
    last = events[-1]
    if last.verdict == "drop":
        return Seen(SEEN_DROPPED, f"{last.table}, chain {last.chain} dropped it: {steps[-1].text}", steps)
    return Seen(PASSED, f"no rule of {HOST} dropped it; the last chain was {last.chain} of {last.table}", steps)


def _step(world: World, packet: Packet, event: TraceEvent) -> Step:
    links = [world.host.links[index].name for index in (event.incoming, event.outgoing) if index in world.host.links]
    by = f" ({' → '.join(links)})" if links else ""
    if event.kind == "rule" and event.handle:
        text = described(world.host.ruleset, event.table, event.chain, event.handle, packet)
    else:
        text = f"policy {event.verdict}" if event.kind == "policy" else "no further rule matches"
    mark = ENDS if event.verdict == "drop" else OK if event.verdict == "accept" else NOTE
    return Step(f"{event.table} {event.chain}", event.verdict, f"{text}{by}", mark)


def send(question: Question) -> None:
    """One packet, from the namespace that the question names. InvalidConfig if that is not on this host.

    KernelError if the kernel refuses to send it.
    """
    if question.link is not None:
        raise InvalidConfig(
            "the sender is outside this host, so --send cannot send for it",
            hint="leave out --send, and send the packet from there",
        )
    packet = question.packet
    family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
    kinds = {TCP: (socket.SOCK_STREAM, 0), UDP: (socket.SOCK_DGRAM, 0)}
    kind, protocol = kinds.get(packet.protocol, (socket.SOCK_RAW, packet.protocol))
    with question.space.stack.open_socket(family, kind | socket.SOCK_NONBLOCK, protocol) as sock:
        try:
            if packet.protocol == TCP:
                sock.connect((str(packet.dst), packet.dport))
            else:
                sock.sendto(_echo(packet) if kind == socket.SOCK_RAW else _PAYLOAD, (str(packet.dst), packet.dport))
        except BlockingIOError:
            pass  # a connection is being made
        except OSError as error:
            reason = f"{question.space} cannot send to {packet.dst}: {error.strerror}"
            raise KernelError(reason, error.errno or 0) from error


def _echo(packet: Packet) -> bytes:
    """An echo request. The kernel fills in the checksum of ICMPv6."""
    kind = {ICMP: 8, ICMP6: 128}[packet.protocol]
    body = struct.pack("!HH", 0xC2C2, 1) + _PAYLOAD
    if packet.protocol == ICMP6:
        return struct.pack("!BBH", kind, 0, 0) + body
    data = struct.pack("!BBH", kind, 0, 0) + body + bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~(total + (total >> 16)) & 0xFFFF) + body
