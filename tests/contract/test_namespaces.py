"""What every Namespaces promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cni_cnm.kernel import namespace_holders
from cni_cnm.kernel.netns import KernelNamespaces
from tests.contract.conftest import World
from tests.program import ROOT
from tests.waiting import until


def test_holders_are_paths_of_the_namespace(world: World) -> None:
    """Of that one alone, and none of a namespace that does not exist."""
    held = world.container.inode()
    paths = list(world.namespaces.holders(held) or ())
    assert paths
    for path in paths:
        with world.namespaces.open(path) as stack:
            assert stack.inode() == held
    assert list(world.namespaces.holders(1) or ()) == []


def test_a_namespace_that_a_process_keeps_is_held(host: object) -> None:
    """Also where no path leads to it; not any more when the process has ended."""
    namespaces = KernelNamespaces()
    child = subprocess.Popen(["/usr/bin/unshare", "--net", "cat"], stdin=subprocess.PIPE)
    try:
        own = Path("/proc/self/ns/net").stat().st_ino
        until(lambda: Path(f"/proc/{child.pid}/ns/net").stat().st_ino != own, "a namespace of its own")
        inode = Path(f"/proc/{child.pid}/ns/net").stat().st_ino
        assert f"/proc/{child.pid}/ns/net" in list(namespaces.holders(inode) or ())
    finally:
        child.communicate()
    assert list(namespaces.holders(inode) or ()) == []


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    """The kernel writes it as octal digits."""
    (tmp_path / "mountinfo").write_text(
        "36 35 0:4 net:[4026532000] /run/a\\040b rw shared:1 - nsfs nsfs rw\n"
        "37 35 0:4 net:[4026532001] /run/c rw - nsfs nsfs rw\n"
        "38 35 0:5 / /run/d rw - tmpfs tmpfs rw\n",
        encoding="ascii",
    )
    assert list(namespace_holders._mounted(str(tmp_path), 4026532000)) == ["/run/a b"]


def test_processes_of_which_nothing_may_be_read(require_root: None) -> None:
    """A service in a pod sees the node's processes, without CAP_SYS_PTRACE: that no process is in it, is not known."""
    script = "from cni_cnm.kernel import namespace_holders; print(namespace_holders.sees_all_processes())"
    command = ["setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", script]
    assert subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout == "False\n"
