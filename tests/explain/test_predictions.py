"""What explain says of a packet is what the packet does: on random hosts, with faults and other programs' firewalls."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from cni_cnm.explain.explanation import NO_ANSWER, REACHED, REFUSED, Explanation
from cni_cnm.explain.verdict import DELIVERED, HOST, LEAVES, UNKNOWN
from tests.explain.faults import FAULTS, iptables, legacy
from tests.explain.lab import OUTSIDE_HOSTS, ExplainLab, Flow, Seen
from tests.explain.topology import build, flow

HOSTS, FLOWS = 7, 16
"""In every run: more than a hundred packets."""
LONG_HOSTS = 60
UNKNOWN_MAX = 0.05


def differs(said: Explanation, seen: Seen, one: Flow) -> str:
    """ "" if the packet did what was said."""
    place = {HOST: "host"}.get(said.trip.verdict.where, said.trip.verdict.where)
    wanted = {DELIVERED: place, LEAVES: "outside"}.get(said.trip.verdict.outcome, "")
    if said.outcome == REFUSED or (wanted == "outside" and str(said.trip.packet.dst) not in OUTSIDE_HOSTS.values()):
        wanted = ""  # no socket is there
    if seen.arrived != wanted:
        return f"{one}: said {said.outcome} at {wanted or '-'} ({said.sentence}), arrived at {seen.arrived or '-'}"
    answered = {REACHED: True, NO_ANSWER: False}.get(said.outcome)
    if answered is not None and answered != seen.answered:
        return f"{one}: said {said.outcome} ({said.sentence}), {'an' if seen.answered else 'no'} answer came"
    return ""


def _again(lab: ExplainLab, one: Flow) -> str:
    """Alone: of several packets at once, one may teach a namespace the MAC that another one lacks.

    With more time, too: a busy machine may take longer for each of them.
    """
    said = lab.explained(one.what, **one.asked)[0]
    return "" if said.outcome == UNKNOWN else differs(said, lab.send([one], 3)[0], one)


def predicted(seed: int, folder: Path) -> tuple[list[str], Counter[str]]:
    """What differs on one random host, and how often each outcome was said."""
    random = Random(seed)
    lab = ExplainLab(folder)
    try:
        pods = build(lab, random)
        programs = {iptables: "iptables-nft", legacy: "iptables-legacy"}
        usable = [one for one in FAULTS if one not in programs or shutil.which(programs[one])]
        chosen = random.sample(usable, random.randrange(3))
        for fault in chosen:
            fault(lab, random, pods)
        flows = [flow(lab, random, pods) for _ in range(FLOWS)]
        lab.listen()
        said = [lab.explained(one.what, **one.asked)[0] for one in flows]
        outcomes = Counter(one.outcome for one in said)
        known = [(one, way) for one, way in zip(said, flows, strict=True) if one.outcome != UNKNOWN]
        seen = lab.send([way for _, way in known])
        wrong = [
            text
            for (one, way), what in zip(known, seen, strict=True)
            if differs(one, what, way) and (text := _again(lab, way))
        ]
        names = ", ".join(fault.__name__ for fault in chosen)
        return [f"seed {seed} ({names}): {text}" for text in wrong], outcomes
    finally:
        lab.close()


def _run(seeds: range, folder: Path) -> Counter[str]:
    wrong, outcomes = [], Counter[str]()
    for seed in seeds:
        found, counted = predicted(seed, folder / str(seed))
        wrong += found
        outcomes += counted
    print(dict(outcomes))
    assert not wrong, "\n".join(wrong)
    assert outcomes[UNKNOWN] <= UNKNOWN_MAX * outcomes.total()
    return outcomes


def test_what_is_said_is_what_packets_do(tmp_path: Path) -> None:
    """More than 50 packets on seven hosts. Each kind of outcome comes up."""
    outcomes = _run(range(HOSTS), tmp_path)
    assert {"reached", "dropped", "leaves"} <= set(outcomes)


@pytest.mark.long
def test_on_many_hosts(tmp_path: Path) -> None:
    """More than 500 packets."""
    _run(range(1000, 1000 + LONG_HOSTS), tmp_path)
