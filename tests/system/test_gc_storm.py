"""gc removes nothing that lives, and at the end all that is dead is gone, whatever containerd does or says."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.containerd import Containerd
from tests.system.gc_storm import LIES, Storm, newer_containerd

SEED = 17
LONG_S = 150
WIDTH = 16


@pytest.fixture
def storm(containerd: Containerd, tmp_path: Path) -> Iterator[Storm]:
    made = Storm(containerd, tmp_path, SEED)
    yield made
    made.close()


def test_gc_beside_a_containerd_that_loses_its_store(storm: Storm) -> None:
    """Pods run on while containerd lists none of them; those that have ended are removed, by list and by kernel."""
    for number in range(3):
        storm.run(by_ctr=number == 2)
    for lie in ("empty", "half", "other"):
        storm.lie(lie)
        assert storm.gc() == []
    storm.end_containerd(store="moved")
    storm.lie("")
    assert storm.gc() == []
    storm.finish()
    for _ in range(2):
        lost = storm.taken(random.Random(SEED))
        assert lost is not None
        storm.lose(lost)
    storm.finish()
    assert storm.counts["alive at the end"] == 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_storm(storm: Storm) -> None:
    """16 workers; containerd is killed, stopped, frozen, upgraded, and given another store; the lists lie."""
    chance = random.Random(SEED)
    newer = newer_containerd()

    def lie() -> None:
        storm.lie(chance.choice(LIES))
        time.sleep(chance.uniform(2, 4))
        storm.lie("")

    def moved() -> None:
        storm.end_containerd(store="moved")
        time.sleep(3)
        storm.end_containerd(store="")

    events: list[Callable[[], None]] = [
        lie, storm.end_containerd, lambda: storm.end_containerd(signal.SIGTERM), lambda: storm.freeze_containerd(2.5),
        moved, lie,
    ]  # fmt: skip
    storm.start(WIDTH)
    begin, upgraded, number = time.monotonic(), False, 0
    while (passed := time.monotonic() - begin) < LONG_S and not storm.wrong:
        time.sleep(2)
        events[number % len(events)]()
        number += 1
        if newer is not None and not upgraded and passed > LONG_S / 2:
            storm.use(newer)
            storm.end_containerd()
            upgraded = True
    storm.finish()
    print(
        f"seed {SEED}, containerd 1.6{', then 2.3' if upgraded else ''}, {LONG_S} s, {WIDTH} at once\n{storm.figures()}"
    )
