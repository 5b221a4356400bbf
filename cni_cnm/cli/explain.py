"""`cni-cnm explain`: the way of a packet, in steps, from what the kernel has now."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from cni_cnm.cli.listing import Column, Listing, write
from cni_cnm.errors import InvalidConfig
from cni_cnm.find.endpoints import FORMS
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.explain.explanation import Explanation
    from cni_cnm.explain.question import Asked
    from cni_cnm.explain.walk import Trip

NOT_REACHED = 3
"""Exit code: a packet does not arrive, or it is not known whether it does."""
STEPS = Listing(
    Column("Result", key="mark", styles={"ends": "bold red", "unknown": "yellow", "note": "dim"}),
    Column("Where"),
    Column("What"),
    Column("How"),
    quiet="Where",
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "explain",
        help="show the way of a packet, and where it ends",
        description="Follow a packet to where it arrives or ends, and the answer back. Routes are asked "
        "of the kernel, rules are read from it, and nothing is sent. Without --to and --from: from the container to "
        "the outside, and from this host to the container. The exit status is 3 if a packet does not arrive.",
    )
    parser.add_argument("what", help=f"who sends: {FORMS}. A number is a published port: who asks is outside then")
    parser.add_argument("--to", default="", metavar="TARGET", help="ADDRESS[:PORT], NAME[:PORT] or outside")
    parser.add_argument(
        "--from",
        dest="sender",
        default="",
        metavar="SENDER",
        help="explain the way to WHAT: host, outside, an address, or a container, with the port that it asks as :PORT",
    )
    parser.add_argument(
        "--protocol", choices=("tcp", "udp", "icmp"), default="", help="default: tcp with a port, else icmp"
    )
    parser.add_argument("-6", dest="version", action="store_const", const=6, default=0, help="by IPv6")
    parser.add_argument("--live", action="store_true", help="wait for a real packet, and show the rules that it meets")
    parser.add_argument("--send", action="store_true", help="with --live: send one packet")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="of --live (default: 60)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(verb=explain_way)


def explain_way(arguments: argparse.Namespace) -> int:
    from cni_cnm.explain.explanation import REACHED, explain
    from cni_cnm.explain.question import Asked, questions
    from cni_cnm.explain.verdict import LEAVES
    from cni_cnm.explain.world import World

    _raise_limit()
    host = open_controller().host
    asked = Asked(arguments.what, arguments.to, arguments.sender, arguments.protocol, arguments.version)
    if arguments.send and not arguments.live:
        raise InvalidConfig("--send belongs to --live", hint="without both, nothing is sent and nothing is waited for")
    if arguments.live:
        return _live(arguments, host, asked)
    with World(host) as world:
        found = [explain(world, question) for question in questions(world, host, asked)]
        unfinished = world.unfinished()
    if arguments.json:
        write(json.dumps([_json(one) for one in found], indent=4))
    else:
        for number, one in enumerate(found):
            _show(one, first=number == 0)
        _say_unfinished(found, unfinished)
    return 0 if all(one.outcome in (REACHED, LEAVES) for one in found) else NOT_REACHED


def _raise_limit() -> None:
    """A bridge may lead to a thousand namespaces, each with a descriptor and sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _live(arguments: argparse.Namespace, host: Host, asked: Asked) -> int:
    from cni_cnm.explain.live import PASSED, send, traced_flow, watch
    from cni_cnm.explain.question import questions
    from cni_cnm.explain.world import World
    from cni_cnm.kernel.nftables.nft_trace import KernelPacketTrace

    with World(host) as world:
        question = questions(world, host, asked)[0]
        flow = traced_flow(question)
        with KernelPacketTrace(flow) as trace:
            if arguments.send:
                send(question)
            elif not arguments.json:
                write(f"waiting for {one_line(question.title)}, at most {arguments.timeout:g} s", "")
                sys.stdout.flush()
            seen = watch(world, question, trace, arguments.timeout)
    if arguments.json:
        steps = [step._asdict() for step in seen.steps]
        shown = {"question": question.title, "outcome": seen.outcome, "reason": seen.sentence, "steps": steps}
        write(json.dumps(shown, indent=4))
    else:
        if seen.steps:
            STEPS.groups([{**step._asdict(), "how": step.text} for step in seen.steps], "Where")
            write("")
        write(f"{seen.outcome.upper()}: {one_line(seen.sentence)}")
    return 0 if seen.outcome == PASSED else NOT_REACHED


def _show(one: Explanation, *, first: bool) -> None:
    if not first:
        write("")
    write(one_line(one.question.title), "")
    _steps(one.trip)
    if one.answer is not None:
        write("", "the answer", "")
        _steps(one.answer)
    write("", f"{one.outcome.upper()}: {one_line(one.sentence)}")
    if one.verdict.hint:
        write(f"next: {one_line(one.verdict.hint)}")


def _say_unfinished(found: Sequence[Explanation], unfinished: Mapping[str, str]) -> None:
    """What an operator should know of a container on the way: it is not as its network will have it."""
    passed = dict.fromkeys(step.where for one in found for step in one.trip.steps)
    for where in filter(unfinished.__contains__, passed):
        say(
            f"cni-cnm: the endpoint {unfinished[where]} is unfinished: its call is at work, was killed or has failed "
            "(the next ADD or DEL finishes it)"
        )


def _steps(trip: Trip) -> None:
    STEPS.groups([{**step._asdict(), "how": step.text} for step in trip.steps], "Where")


def _json(one: Explanation) -> dict[str, Any]:
    return {
        "question": one.question.title,
        "outcome": one.outcome,
        "where": one.verdict.where,
        "reason": one.sentence,
        "next": one.verdict.hint,
        "steps": [step._asdict() for step in one.trip.steps],
        "answer": [step._asdict() for step in one.answer.steps] if one.answer is not None else None,
    }
