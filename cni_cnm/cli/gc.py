"""`cni-cnm gc`: remove endpoints that nothing has any more: by the kernel, and by the lists of the runtimes."""

from __future__ import annotations

import time
from typing import Any

from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.errors import CnmError
from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.runtimes import unlisted
from cni_cnm.runtimes.all_runtimes import ALL
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

APART_S = 60.0
"""Between the two looks at the lists of the runtimes."""


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "gc",
        help="remove endpoints whose container is gone",
        description="Shows endpoints whose network namespace no longer exists, and endpoints whose container the "
        "runtime (containerd, CRI-O, podman) does not have and whose namespace has no process. With --yes they are "
        f"removed. The runtimes are then asked twice, {APART_S:.0f} s apart. If one does not answer, its endpoints are "
        "kept. So are endpoints of the last 15 minutes. Endpoints of Docker are not concerned.",
    )
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only shown")
    parser.set_defaults(verb=collect)


def collect(arguments: argparse.Namespace) -> int:
    """Exit code 1 if something could not be removed."""
    host = open_controller().host
    gone = {difference.key: difference for difference in gone_namespaces.compare(host)}
    for difference in gone.values():
        print(one_line(difference.sentence))
    found = unlisted.look(host, ALL)
    leftover = {key: value for key, value in found.leftover.items() if key.endpoint not in gone}
    for record, why in leftover.values():
        print(one_line(_sentence(record, why)))
    for sentence in found.kept:
        say(f"cni-cnm: {sentence}")
    if not gone and not leftover:
        return 0
    if not arguments.yes:
        say("cni-cnm: nothing was removed; `cni-cnm gc --yes` removes these")
        return 0
    code = 0
    for difference in gone.values():
        for outcome in gone_namespaces.collect(host, difference):
            if outcome.result == "failed":
                say(f"cni-cnm: {outcome.sentence}")
                code = 1
            else:
                print(one_line(outcome.sentence))
                events.append(host.settings.run_dir, Event(events.COLLECTED, outcome.sentence))
    return _remove(host, leftover) or code


def _remove(host: Host, first: dict[unlisted.Identity, tuple[EndpointRecord, str]]) -> int:
    if not first:
        return 0
    say(f"cni-cnm: the runtimes are asked again in {APART_S:.0f} s")
    time.sleep(APART_S)
    second = unlisted.look(host, ALL)
    for sentence in second.kept:
        say(f"cni-cnm: {sentence}")
    code = 0
    for key, (record, why) in first.items():
        if key not in second.leftover:
            say(f"cni-cnm: {_sentence(record, why)}; it is kept: this is so no more")
            continue
        try:
            if unlisted.remove(host, record):
                sentence = f"{_sentence(record, why)}; it was removed"
                print(one_line(sentence))
                events.append(host.settings.run_dir, Event(events.COLLECTED, sentence, record.network))
            else:
                say(f"cni-cnm: {_sentence(record, why)}; it is kept: it has changed, or a process has come")
        except CnmError as error:
            say(f"cni-cnm: {_sentence(record, why)}; it was not removed: {error}")
            code = 1
    return code


def _sentence(record: EndpointRecord, why: str) -> str:
    return f"the endpoint {record.shown}: {why}"
