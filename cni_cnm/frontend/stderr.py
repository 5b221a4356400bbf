"""Lines on stderr: the journal of a service, and what a runtime shows of a call."""

from __future__ import annotations

import sys

from cni_cnm.frontend.one_line import one_line


def say(line: str) -> None:
    """Write one line, in which text from outside is escaped.

    Never raises: stderr may be closed, full, or a pipe whose reader has ended, such as a journal that is started again.
    """
    try:
        sys.stderr.write(f"{one_line(line)}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass
