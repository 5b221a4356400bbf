"""Undo on failure: each step pushes how to take itself back; the first error stays the reported one."""

from __future__ import annotations

from cni_cnm.errors import CnmError, PluginRefused, TryAgain, Unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Rollback:
    """`with Rollback() as undo:`: if the block fails, the pushed steps run in reverse, each whatever the others did.

    What cannot be undone is noted on the error that is reported; the record stays and names it for the next call. So it
    does if the block itself says that something is left (`Unfinished`). What a plugin complains of is not left.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[[], object], bool]] = []

    def push(self, step: Callable[[], object]) -> None:
        self._steps.append((step, False))

    def push_forgetting(self, step: Callable[[], object]) -> None:
        """One that removes the record of what the later ones take back: left out if they could not."""
        self._steps.append((step, True))

    def __enter__(self) -> Rollback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        clean = not isinstance(error, Unfinished)
        for step, forgets in reversed(self._steps):
            if forgets and not clean:
                continue
            try:
                step()
            except Exception as second:  # noqa: BLE001 - a defect in one step must not keep the others from theirs
                clean = clean and isinstance(second, PluginRefused)
                error.add_note(f"while undoing: {second}")


class ErrorList:
    """Errors of a teardown that goes on: `attempt` runs a step and keeps its error; `errors` is what was kept.

    `notes` are complaints that keep nothing from being done.
    """

    def __init__(self) -> None:
        self.errors: list[CnmError] = []
        self.notes: list[str] = []

    @property
    def unanswered(self) -> bool:
        """Somebody who has a part in it could not be told: it is not over for him."""
        return any(isinstance(error, TryAgain) for error in self.errors)

    def attempt(self, step: Callable[[], object]) -> bool:
        """True if the step succeeded."""
        try:
            step()
        except PluginRefused as error:
            self.notes.append(str(error))
        except CnmError as error:
            self.errors.append(error)
            return False
        return True
