"""Several names in one command: each is tried, and the exit code says whether to try again."""

from __future__ import annotations

import errno

import pytest

from cni_cnm.cli.names import each
from cni_cnm.errors import CnmError, KernelError, NoSuchNetwork, TryAgain

BUSY = TryAgain("busy")
MISSING = NoSuchNetwork("there is no network b")
NO_MEMORY = KernelError("nftables cannot be asked: Cannot allocate memory", errno.ENOMEM)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ((None, None), 0),
        ((None, MISSING), 1),
        ((MISSING, None), 1),
        ((BUSY, None), 11),
        ((BUSY, MISSING), 1),
        ((NO_MEMORY,), 11),
        ((NO_MEMORY, BUSY), 11),
    ],
)
def test_exit_code(errors: tuple[CnmError | None, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    tried = []

    def act(name: str) -> None:
        tried.append(name)
        if error := errors[int(name)]:
            raise error

    names = [str(number) for number in range(len(errors))]
    assert each(names, act) == code
    assert tried == names
    assert len(capsys.readouterr().err.splitlines()) == sum(error is not None for error in errors)
