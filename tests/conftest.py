"""Network namespaces for tests. Nothing here or in a test ever touches the machine's own network.

    require_root     skips without root
    host             the test's thread lives in a fresh namespace for the test; the value is its Stack
    make_netns       call it with a name for a fresh namespace; gives its path, as a runtime would
    netns            the path of one such namespace

A process started by a test that uses `host` starts inside it, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from ctypes import CDLL, get_errno
from pathlib import Path

import pytest
from hypothesis import settings

from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.setns import CLONE_NEWNET, own_fd, setns
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.state.record_reader import take_notes

if not os.environ.get("CI"):  # there hypothesis has a profile of its own: no deadline, the same examples every time
    settings.register_profile("patient", deadline=None, max_examples=int(os.environ.get("CNI_CNM_EXAMPLES", "100")))
    settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `long` the cases of a test that its mark `quick` does not name. UsageError for a name of no case."""
    cases: dict[str, set[str]] = {}
    for item in items:
        mark = item.get_closest_marker("quick")
        if mark is not None and isinstance(item, pytest.Function):
            cases.setdefault(item.nodeid.partition("[")[0], set()).add(item.callspec.id)
            if item.callspec.id not in mark.args:
                item.add_marker("long")
    for item in items:
        known = cases.get(item.nodeid.partition("[")[0], set())
        mark = item.get_closest_marker("quick")
        if mark is not None and len(known) > 1 and not known >= set(mark.args):
            raise pytest.UsageError(f"{item.nodeid}: no case is called {sorted(set(mark.args) - known)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No test's request names the damaged records of an earlier test: they run in one thread."""
    take_notes()


signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures end what they have started: scripts/test sends it
os.environ["CNI_CNM_LINGER"] = "0"  # no test is answered by a service that another call has left behind
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_libc = CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        raise OSError(get_errno(), f"{name}: {os.strerror(get_errno())}")


@pytest.fixture(scope="session", autouse=True)
def left_namespaces() -> dict[str, int]:
    """The whole run leaves the machine's namespaces: whatever a test forgets, it hits an empty network.

    The value is the inodes of what was left. Without root it is empty: nothing a test could change then.
    """
    if os.geteuid() != 0:
        return {}
    before = {kind: os.stat(f"/proc/thread-self/ns/{kind}").st_ino for kind in ("net", "mnt")}
    _call("unshare", _CLONE_NEWNS | CLONE_NEWNET)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _loopback_up()
    return before


def _loopback_up() -> None:
    namespaces = KernelNamespaces()
    stack = namespaces.host()
    stack.set_link(1, up=True)
    stack.close()
    namespaces.close()


@pytest.fixture
def require_root() -> None:
    """The test needs CAP_NET_ADMIN and CAP_SYS_ADMIN."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")


@pytest.fixture
def host(require_root: None) -> Iterator[KernelStack]:
    """The thread is inside a fresh namespace with lo up until the test ends."""
    before = own_fd()
    _call("unshare", CLONE_NEWNET)
    namespaces = KernelNamespaces()
    stack = namespaces.host()
    try:
        _loopback_up()
        yield stack
    finally:
        stack.close()
        namespaces.close()
        setns(before, CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def make_netns(require_root: None, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes namespaces bound to files in the test's own folder. All are gone when the test ends."""
    made: list[str] = []

    def make(name: str) -> str:
        path = str(tmp_path / "netns" / name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x"):
            pass
        before = own_fd()
        try:
            _call("unshare", CLONE_NEWNET)
            _call("mount", b"/proc/thread-self/ns/net", path.encode(), None, _MS_BIND, None)
        finally:
            setns(before, CLONE_NEWNET)
            os.close(before)
        made.append(path)
        return path

    yield make
    for path in made:
        if os.path.exists(path):
            remove_namespace(path)


def remove_namespace(path: str) -> None:
    """As a runtime does when a pod ends. What nothing else holds the kernel takes down a little later."""
    _libc.umount2(path.encode(), _MNT_DETACH)  # a test may have unmounted it: EINVAL then
    os.unlink(path)


@pytest.fixture
def netns(make_netns: Callable[[str], str]) -> str:
    """The path of a fresh network namespace."""
    return make_netns("container")
