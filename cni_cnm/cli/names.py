"""Several names in one command: one that is wrong does not stop the others."""

from __future__ import annotations

from cni_cnm.errors import CnmError, TryAgain
from cni_cnm.frontend.reply import as_cnm_error
from cni_cnm.frontend.stderr import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: Iterable[str], act: Callable[[str], None]) -> int:
    """Call `act` with each name; an error is a sentence on stderr.

    Returns the exit code: 0, 1 for an error, 11 if all errors are of the kind that may succeed later.
    """
    codes = set()
    for name in names:
        try:
            act(name)
        except CnmError as error:
            shown = as_cnm_error(error)
            say(f"cni-cnm: {shown}")
            codes.add(TryAgain.code if isinstance(shown, TryAgain) else 1)
    return min(codes, default=0)
