"""At every call of the kernel and of the disk, in every verb of every frontend: an error, or the end of the process.

Then there is one error of the tree, with the code for its cause. What is left is undone by what the caller does next,
and the same calls work again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.memory_faults import DIES, Died, Faults, World
from tests.faults.scenarios import SCENARIOS, Answer, Caller, Scenario, good
from tests.faults.system_calls import SCARCE

RUN_AGAIN_EACH = 10
"""The calls of a scenario are made once more after each tenth fault: in between, the host is shown to be as before."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """On a disk in memory, where there is one: a durable record is flushed."""
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as made:
        yield Path(made)


def fresh(folder: Path, scenario: Scenario) -> Caller:
    """A host where every call of the scenario was made once, and all was removed again."""
    caller = Caller(World(folder), scenario.config)
    run(caller, scenario)
    return caller


def run(caller: Caller, scenario: Scenario) -> None:
    for step in (*scenario.before, scenario.call):
        good(getattr(caller, step)())
    getattr(caller, scenario.clear)()


def faults_of(folder: Path, scenario: Scenario, *, every: bool) -> Iterator[tuple[int, str, str]]:
    """Number, name and fault of each call; not `every`: one error at each, in turn, and the end of the process."""
    caller = fresh(folder, scenario)
    for step in scenario.before:
        good(getattr(caller, step)())
    counted = Faults()
    with counted.active(folder):
        good(getattr(caller, scenario.call)())
    assert counted.steps, "the call has no step that could fail"
    for number, counted_step in enumerate(counted.steps, 1):
        errors = [fault for fault in counted_step.faults if fault != DIES]
        for fault in (*(errors if every else (errors[number % len(errors)],)), DIES):
            yield number, counted_step.name, fault


def judge(fault: str, done: Answer) -> None:
    assert "internal error" not in done.message, done
    assert "nf_tables" not in done.message, done
    if fault in SCARCE and done.code and done.code != 500:
        assert done.code == 11, done


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_every_call_fails_once(folder: Path, name: str, every: bool) -> None:
    """What is there afterwards, once the caller has cleared up, is what was there before."""
    scenario = SCENARIOS[name]
    wrong = []
    caller = fresh(folder / "world", scenario)
    empty = caller.world.facts()
    for number, step, fault in faults_of(folder / "counted", scenario, every=every):
        try:
            one_fault(caller, scenario, number, fault, empty)
        except Exception as error:
            wrong.append(f"{step} ({number}) {fault}: {type(error).__name__}: {str(error)[:600]}")
            caller = fresh(folder / f"after{len(wrong)}", scenario)
            empty = caller.world.facts()
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


def one_fault(caller: Caller, scenario: Scenario, number: int, fault: str, empty: set[str]) -> None:
    for step in scenario.before:
        good(getattr(caller, step)())
    before = caller.world.facts()
    faults = Faults(number, fault)
    done = None
    with faults.active(caller.world.folder):
        try:
            done = getattr(caller, scenario.call)()
        except Died:
            assert fault == DIES
    if done is not None:
        judge(fault, done)
    if done is not None and done.code and scenario.call in ("add", "create", "create_anywhere"):
        left = caller.world.facts() - before
        assert not left, f"left by the failed call ({done.message}): {sorted(left)}"
    if scenario.call == "add" and done is not None and not done.code:
        good(caller.check())
    if scenario.call in ("add", "delete") and caller.result and not caller.check().code:
        assert_attached(caller)
    getattr(caller, scenario.clear)()
    assert_same(caller.world.facts(), empty)
    if number % RUN_AGAIN_EACH == 0:
        run(caller, scenario)
        assert_same(caller.world.facts(), empty)


def assert_attached(caller: Caller) -> None:
    """CHECK has found nothing wrong, so there is an interface with its addresses, and its elements."""
    facts = "\n".join(caller.world.facts())
    for address in caller.result["ips"]:
        assert f"c1 eth0 {address['address']}" in facts, "CHECK is satisfied without the address"
    assert "net/c1/eth0" in facts


def assert_same(found: set[str], expected: set[str]) -> None:
    if found != expected:
        raise AssertionError(f"left: {sorted(found - expected)}, missing: {sorted(expected - found)}")
