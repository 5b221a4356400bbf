"""The built program as a file: self-contained, quick to start."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

CALL = {"CNI_COMMAND": "VERSION"}


def run(program: Path, **environ: str) -> str:
    done = subprocess.run([program], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout


def test_it_runs_with_an_empty_environment_and_through_links(bundle: Path, tmp_path: Path) -> None:
    """In place, by a link in another folder, and by its other name, with nothing in the environment."""
    elsewhere = tmp_path / "cni-cnm"
    elsewhere.symlink_to(bundle / "cni-cnm")
    answers = {run(path, **CALL) for path in (bundle / "cni-cnm", bundle / "loopback", elsewhere)}
    assert len(answers) == 1
    assert json.loads(answers.pop())["supportedVersions"][-1] == "1.1.0"


def test_it_needs_nothing_but_the_c_library_and_zlib(bundle: Path) -> None:
    """Every shared object's needs are in the bundle or in a C library's package; TLS and nftables are not inside."""
    folder = (bundle / "cni-cnm").resolve().parent
    objects = [path for path in folder.rglob("*") if ".so" in path.name or path.name == "cni-cnm"]
    inside = {path.name for path in objects}
    system = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libutil.so", "ld-linux", "libz.so")
    for path in objects:
        if path.name.startswith("_ssl."):  # the host's OpenSSL, for plugins that want TLS
            continue
        dumped = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True).stdout
        needed = [line.split()[1] for line in dumped.splitlines() if "NEEDED" in line]
        strange = [name for name in needed if name not in inside and not name.startswith(system)]
        assert strange == [], f"{path.name} needs {strange}"
    assert not [name for name in inside if name.startswith(("libcrypto", "libssl", "libnftables"))]


def test_a_call_opens_no_file_of_a_module_of_ours(bundle: Path, tmp_path: Path) -> None:
    """They are in one file, which is read at once. With a traceback there is a name of a file all the same."""
    trace = tmp_path / "trace"
    conf = {"cniVersion": "1.1.0", "name": "net", "type": "cni-cnm", "ipam": {"subnet": "10.9.0.0/24"}}
    command = ["strace", "-f", "-e", "trace=openat", "-o", str(trace), str(bundle / "cni-cnm")]
    environ = {"CNI_COMMAND": "STATUS", "CNI_PATH": "", "CNI_CNM_SOCKET": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environ, input=json.dumps(conf), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    opened = [line for line in trace.read_text(encoding="utf-8").splitlines() if "ENOENT" not in line]
    assert [line for line in opened if "/modules.bin" in line]
    assert [line for line in opened if "/cni_cnm/" in line and ".pyc" in line] == []


def test_what_it_starts_gets_the_environment_it_was_given(bundle: Path, tmp_path: Path) -> None:
    """A delegated IPAM executable sees the caller's LD_LIBRARY_PATH (here: none), not the bundle's."""
    seen = tmp_path / "seen"
    delegate = tmp_path / "showing"
    delegate.write_text(f'#!/bin/sh\nenv >{seen}\necho \'{{"code": 7, "msg": "shown"}}\'\nexit 1\n', encoding="utf-8")
    delegate.chmod(0o755)
    conf = {"cniVersion": "1.1.0", "name": "net", "type": "cni-cnm", "bridge": "b0", "ipam": {"type": "showing"}}
    environ = {"CNI_COMMAND": "STATUS", "CNI_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [bundle / "cni-cnm"]
    subprocess.run(command, env=environ, input=json.dumps(conf), capture_output=True, text=True, check=False)
    names = {line.partition("=")[0] for line in seen.read_text(encoding="utf-8").splitlines()}
    assert "CNI_COMMAND" in names
    assert not [name for name in names if name.startswith(("LD_LIBRARY_PATH", "_PYI"))]
