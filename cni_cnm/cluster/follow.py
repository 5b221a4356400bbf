"""What a directory holds, kept up to date: a whole list, then changes, and a whole list again when a watch ends.

A watch that cannot be opened is tried again without a list. Before each further try is a pause. It grows while watches
end soon, and it is random: a thousand hosts that lose a store at the same time do not come back at the same time.
Nothing here reads a clock or sleeps by itself.

    for news in follow(directory, stop.wait, monotonic, random):
        match news:
            case Whole(): …
            case Changed(): …
            case Away(): …
"""

from __future__ import annotations

from cni_cnm.cluster.directory import WatchEnded, WatchNotOpened
from cni_cnm.cluster.values import Change, Snapshot
from cni_cnm.errors import CnmError
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from cni_cnm.cluster.directory import Readable

GOOD_S = 60.0
"""A watch that lasted this long was good: the next pause is the first one again."""

WITHOUT_NEWS_S = 600.0
"""If watches cannot be opened for so long, a list is asked for: the store may give lists only."""


class Whole(NamedTuple):
    """All there is now."""

    snapshot: Snapshot
    skipped: Sequence[str]
    """A sentence for each thing that cannot be read, and is left out."""


class Changed(NamedTuple):
    """What changed since the last news. Without changes: the watch lives, and has reached the revision."""

    revision: int
    changes: Sequence[Change]
    skipped: Sequence[str]


class Away(NamedTuple):
    """The directory is not followed for `pause_s` seconds. What is known stays so meanwhile."""

    reason: str
    hint: str
    pause_s: float


News: TypeAlias = "Whole | Changed | Away"


def follow(
    directory: Readable,
    pause: Callable[[float], object],
    clock: Callable[[], float],
    random: Callable[[], float],
    spread_s: float = 0.0,
) -> Iterator[News]:
    """Ends when `pause`, given seconds, returns something true: the caller wants to end.

    `random` gives numbers from 0 to 1. `spread_s`: the first list is asked for within this time at random. A host that
    knows from its disk what was so has that time; one that knows nothing has not.
    """
    if spread_s and pause(spread_s * random()):
        return
    failures, told = 0, clock()
    reached: int | None = None
    while True:
        began = clock()
        try:
            if reached is None:
                snapshot = directory.snapshot()
                reached, told = snapshot.revision, clock()
                yield Whole(snapshot, directory.skipped())
                del snapshot  # it is large, and a watch lasts
            watch, reached = directory.watch(reached), None
            for revision, changes in watch:
                told = clock()
                if told - began >= GOOD_S:
                    failures = 0
                yield Changed(revision, changes, directory.skipped())
            reason, hint = f"{directory.name} ended the watch", ""
        except WatchNotOpened as error:
            reason, hint = str(error), ""
            reached = error.revision if clock() - told < WITHOUT_NEWS_S else None
        except WatchEnded as error:
            reason, hint = str(error), ""
        except CnmError as error:
            reason, hint = error.msg, error.hint
        wait = directory.pace.pause(failures, random())
        failures += 1
        yield Away(reason, hint, wait)
        if pause(wait):
            return
