"""Undo on failure: each step pushes what undoes it. The first error stays the one that is reported."""

from __future__ import annotations

from cni_cnm.errors import CnmError, PluginRefused, TryAgain, Unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Rollback:
    """`with Rollback() as undo:`: if the block fails, every pushed step runs, in reverse order.

    A step that fails is noted on the reported error. Then the record stays: the next call finds in it what is left.
    It also stays if the block raised `Unfinished`. A plugin's refusal (`PluginRefused`) does not keep the record.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[[], object], bool]] = []

    def push(self, step: Callable[[], object]) -> None:
        self._steps.append((step, False))

    def push_record_removal(self, step: Callable[[], object]) -> None:
        """A step that deletes the record of what later steps undo. It is left out if one of them failed."""
        self._steps.append((step, True))

    def __enter__(self) -> Rollback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        clean = not isinstance(error, Unfinished)
        for step, removes_record in reversed(self._steps):
            if removes_record and not clean:
                continue
            try:
                step()
            except Exception as second:  # noqa: BLE001 - a defect in one step must not stop the others
                clean = clean and isinstance(second, PluginRefused)
                error.add_note(f"while undoing: {second}")


class ErrorList:
    """Errors of a removal in which every step is tried: `attempt` runs a step and keeps its error in `errors`.

    `notes` are refusals of plugins, one sentence each. They do not stop the removal.
    """

    def __init__(self) -> None:
        self.errors: list[CnmError] = []
        self.notes: list[str] = []

    @property
    def unanswered(self) -> bool:
        """True if the endpoint's plugin did not answer: the removal is not complete."""
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
