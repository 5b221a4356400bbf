"""Any failure as the one error that a caller is shown."""

from __future__ import annotations

import errno
import importlib
import os
from pathlib import Path
from typing import TypeVar

import pytest

from cni_cnm.errors import CnmError, Conflict, IoFailed, KernelError, Several
from cni_cnm.frontend.reply import as_cnm_error
from cni_cnm.kernel.nftables import libnftables

ErrorT = TypeVar("ErrorT", bound=Exception)


def caused(error: ErrorT, cause: Exception) -> ErrorT:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KernelError("adding a veth failed", errno.ENOBUFS), 11),
        (KernelError("adding a veth failed", errno.EPERM), 110),
        (caused(IoFailed("the record cannot be written"), OSError(errno.EMFILE, "")), 11),
        (caused(IoFailed("the record cannot be written"), OSError(errno.ENOSPC, "")), 5),
        (OSError(errno.EIO, "Input/output error", "/proc/stat"), 5),
        (OSError("libffi.so.8: cannot open shared object file: Too many open files"), 11),
        (ImportError("libffi.so.8: cannot map zero-fill pages: Cannot allocate memory"), 11),
        (ModuleNotFoundError("No module named 'cni_cnm.ipam.leases'"), 11),
        (Several([CnmError("no"), caused(IoFailed("no"), OSError(errno.EMFILE, ""))]), 11),
        (MemoryError(), 11),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 11),
        (ZeroDivisionError("a defect"), 110),
    ],
)
def test_code(error: Exception, code: int) -> None:
    """11 for what may work later; a system call that failed is no defect of this program."""
    shown = as_cnm_error(error)
    assert shown.code == code
    assert ("internal error" in shown.msg) == isinstance(error, ZeroDivisionError)


def test_a_cause_that_was_left_out() -> None:
    """A lock that is taken is no scarcity: what raised `from None` has said all there is to say."""
    error = Conflict("another service listens")
    error.__context__ = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    assert as_cnm_error(error).code == 11
    error.__suppress_context__ = True
    assert as_cnm_error(error) is error


def test_a_package_whose_file_was_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOMEM at stat(2) within an import: Python then makes a namespace package of the folder, without an error."""
    (tmp_path / "halfloaded").mkdir()
    (tmp_path / "halfloaded/__init__.py").write_text("loads = len\n")
    real = importlib._bootstrap_external._path_stat  # type: ignore[attr-defined]

    def refused(path: str) -> os.stat_result:
        if path.endswith("__init__.py"):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        found: os.stat_result = real(path)
        return found

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib._bootstrap_external, "_path_stat", refused)
    half = importlib.import_module("halfloaded")
    monkeypatch.undo()
    with pytest.raises(AttributeError) as raised:
        half.loads("{}")
    shown = as_cnm_error(raised.value)
    assert shown.code == 11
    assert "a part of the program cannot be loaded: module 'halfloaded' has no attribute 'loads'" in shown.msg


def test_an_error_of_the_tree_stays_the_same() -> None:
    """Nothing is wrapped that says enough by itself."""
    error = CnmError("no")
    assert as_cnm_error(error) is error


def test_causes_that_go_round() -> None:
    """An error that is raised again while another one is handled can be its own cause's cause."""
    one, other = KernelError("one", errno.EPERM), KernelError("other", errno.EPERM)
    one.__context__, other.__context__ = other, one
    assert as_cnm_error(one) is one


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENOBUFS, errno.EPERM, errno.EIO])
def test_nf_tables_is_not_called_missing(number: int) -> None:
    """libnftables says the same first words for every failure to read the kernel's tables."""
    said = libnftables.failure(f"Error: cache initialization failed: {os.strerror(number)}")
    assert isinstance(said, KernelError)
    assert said.errno == number
