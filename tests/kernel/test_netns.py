"""Finding, entering and leaving network namespaces of the real kernel."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cni_cnm.errors import KernelError, NamespaceGone
from cni_cnm.kernel import setns as module
from cni_cnm.kernel import sysctl
from cni_cnm.kernel.netns import KernelNamespaces
from cni_cnm.kernel.setns import entered
from cni_cnm.kernel.stack import KernelStack


def _here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_tests_are_not_in_the_machines_network(require_root: None, left_namespaces: dict[str, int]) -> None:
    """The run as a whole has left the namespaces it was started in."""
    assert set(left_namespaces) == {"net", "mnt"}
    for kind, inode in left_namespaces.items():
        assert os.stat(f"/proc/thread-self/ns/{kind}").st_ino != inode


def test_open_folders_of_sysctls_stay_those_of_their_namespace(host: KernelStack, netns: str) -> None:
    """From inside another one, too: the service keeps them open."""
    key = "net/ipv4/ip_forward"
    folders = entered(host.fd, sysctl.open_folders)
    host.set_sysctls([(key, "0")])
    stack = KernelNamespaces().open(netns)
    stack.set_sysctls([(key, "0")])
    entered(stack.fd, lambda: sysctl.write_differing([(key, "1")], tolerate=False, folders=folders))
    assert (host.sysctl(key), stack.sysctl(key)) == ("1", "0")
    assert entered(stack.fd, lambda: sysctl.read(key, folders)) == "1"
    for descriptor in folders.values():
        os.close(descriptor)


def test_opening_leaves_the_thread_where_it_is(host: KernelStack, netns: str) -> None:
    """Links are seen and sysctls written in the other namespace; the thread is home all the time."""
    home = _here()
    stack = KernelNamespaces().open(netns)
    assert _here() == home
    stack.set_link(1, mtu=1400)
    stack.set_sysctls([("net/ipv4/ip_forward", "1")])
    assert _here() == home
    assert stack.inode() == os.stat(netns).st_ino != home
    own = host.link("lo")
    assert own is not None
    assert own.mtu == 65536
    stack.close()
    stack.close()


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.touch(), "plain file"),
        (lambda path: path.mkdir(), "another kind"),
        (lambda path: os.mkfifo(path), "another kind"),
        (lambda path: path.symlink_to("/dev/zero"), "another kind"),
        (lambda path: path.symlink_to("/proc/self/ns/mnt"), "another type"),
        (lambda path: path.symlink_to("/proc/self/status/x"), "Not a directory"),
    ],
)
def test_what_is_no_network_namespace(
    require_root: None, tmp_path: Path, make: Callable[[Path], object], cause: str
) -> None:
    """NamespaceGone says what is there instead, without waiting for it, and makes nothing."""
    path = tmp_path / "netns"
    make(path)
    before = os.path.lexists(path)
    with pytest.raises(NamespaceGone, match=cause) as error:
        KernelNamespaces().open(str(path))
    assert str(path) in str(error.value)
    assert os.path.lexists(path) == before


def test_an_unmounted_namespace_is_gone(netns: str) -> None:
    """A bound namespace that was unmounted leaves a plain file, as a reboot does."""
    KernelNamespaces().open(netns).close()
    assert ctypes.CDLL(None).umount2(netns.encode(), 2) == 0
    with pytest.raises(NamespaceGone, match="plain file"):
        KernelNamespaces().open(netns)


def test_given_descriptors_win_over_paths(host: KernelStack, make_netns: Callable[[str], str]) -> None:
    """A path in the map is never opened: its descriptor counts, and stays the caller's."""
    path = make_netns("a")
    fd = os.open(path, os.O_RDONLY)
    namespaces = KernelNamespaces(own=fd, descriptors={"/nowhere": fd})
    first, second = namespaces.open("/nowhere"), namespaces.host()
    assert first.inode() == second.inode()
    assert first.inode() != host.inode()
    assert namespaces.is_host("/nowhere")
    assert namespaces.is_host(path)
    assert not namespaces.is_host("/proc/thread-self/ns/net")
    assert KernelNamespaces().is_host("/proc/thread-self/ns/net")
    first.close()
    second.close()
    namespaces.close()
    assert os.fstat(fd).st_ino == os.stat(path).st_ino
    os.close(fd)
    with open(path.removesuffix("a") + "plain", "w") as plain, pytest.raises(NamespaceGone):
        KernelNamespaces(descriptors={"/nowhere": plain.fileno()}).open("/nowhere")


def test_a_failing_action_still_goes_home(host: KernelStack, netns: str) -> None:
    """An exception inside comes out outside, with the thread back."""
    home = _here()
    fd = os.open(netns, os.O_RDONLY)
    with pytest.raises(ZeroDivisionError):
        entered(fd, lambda: 1 // 0)
    assert entered(fd, _here) == os.fstat(fd).st_ino
    assert _here() == home
    os.close(fd)


def test_a_thread_that_cannot_go_home_ends(host: KernelStack, netns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the way back fails no handler of ours can go on in the wrong namespace."""
    real = module.setns
    home = module.own_fd()
    fd = os.open(netns, os.O_RDONLY)

    def only_in(target: int, kind: int) -> None:
        if target != fd:
            raise PermissionError(1, "Operation not permitted")
        real(target, kind)

    monkeypatch.setattr(module, "setns", only_in)
    try:
        with pytest.raises(module.LostInNamespace, match="cannot return") as error:
            entered(fd, lambda: None)
        assert not isinstance(error.value, Exception)
    finally:
        real(home, module.CLONE_NEWNET)
        os.close(home)
        os.close(fd)


def test_threads_have_namespaces_of_their_own(host: KernelStack, make_netns: Callable[[str], str]) -> None:
    """Many threads at once each see the namespace they opened, and all end up at home."""
    paths = [make_netns(f"n{n}") for n in range(8)]
    home = _here()
    namespaces = KernelNamespaces()

    def work(path: str) -> tuple[str | None, int, int]:
        stack = namespaces.open(path)
        try:
            for _ in range(20):
                stack.set_sysctls([("net/ipv4/ip_default_ttl", str(40 + paths.index(path)))])
                stack.set_link(1, mtu=1400 + paths.index(path))
            lo = stack.link("lo")
            assert lo is not None
            return stack.sysctl("net/ipv4/ip_default_ttl"), lo.mtu, _here()
        finally:
            stack.close()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, paths))
    assert found == [(str(40 + n), 1400 + n, home) for n in range(8)]


def test_descriptors_are_not_leaked_or_inherited(host: KernelStack, netns: str) -> None:
    """Opening and closing leaves no descriptor; while open, none reaches a child process."""
    namespaces = KernelNamespaces()
    before = sorted(os.listdir("/proc/self/fd"))
    stack = namespaces.open(netns)
    stack.set_sysctls([("net/ipv4/ip_forward", "1")])
    assert stack.links()
    opened = [int(fd) for fd in os.listdir("/proc/self/fd") if fd not in before]
    assert opened
    assert not any(os.get_inheritable(fd) for fd in opened if os.path.lexists(f"/proc/self/fd/{fd}"))
    stack.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("key", ["kernel/hostname", "net", "net/../kernel/hostname", "net//ipv4", "/net/x", ""])
def test_only_network_sysctls(host: KernelStack, key: str) -> None:
    """No key leads out of /proc/sys/net."""
    with pytest.raises(KernelError, match="not a sysctl of the network"):
        host.set_sysctls([(key, "1")])
    with pytest.raises(KernelError, match="not a sysctl of the network"):
        host.sysctl(key)


def test_equal_sysctls_are_not_written(host: KernelStack) -> None:
    """A read-only /proc that has the value already is fine; another value is EROFS, or passed over."""
    libc = ctypes.CDLL(None)
    proc = b"/proc/sys/net"
    host.set_sysctls([("net/ipv4/tcp_rmem", "4096 131072 6291456")])
    assert libc.mount(proc, proc, None, 0x1000, None) == 0
    try:
        assert libc.mount(None, proc, None, 0x1000 | 0x20 | 0x1, None) == 0
        host.set_sysctls([("net/ipv4/ip_forward", "0"), ("net/ipv4/tcp_rmem", "4096 131072 6291456")])
        with pytest.raises(KernelError, match="ip_forward") as error:
            host.set_sysctls([("net/ipv4/ip_forward", "1")])
        assert error.value.errno == 30
        host.set_sysctls([("net/ipv4/ip_forward", "1")], tolerate=True)
        assert host.sysctl("net/ipv4/ip_forward") == "0"
    finally:
        assert libc.umount2(proc, 2) == 0


def test_refused_sysctl_values(host: KernelStack) -> None:
    """A value the kernel refuses is EINVAL with key and value, also where missing keys are tolerated."""
    with pytest.raises(KernelError, match="ip_forward cannot be set to 'maybe'") as error:
        host.set_sysctls([("net/ipv4/ip_forward", "maybe")], tolerate=True)
    assert error.value.errno == 22


def test_fixtures_leave_nothing(require_root: None, tmp_path: Path) -> None:
    """A run with these fixtures leaves no mount behind, whatever the test did."""
    case = tmp_path / "test_case.py"
    case.write_text("from tests.conftest import *\n\ndef test_it(host, netns):\n    print('netns', netns)\n")
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-sq",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(case),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    path = run.stdout.split("netns ")[1].split()[0]
    assert not os.path.lexists(path)
    assert path not in Path("/proc/self/mountinfo").read_text()
