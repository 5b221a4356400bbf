"""The built program as a file: self-contained, quick to start, installed and taken back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cni_cnm import __version__
from tests.program import ROOT

CALL = {"CNI_COMMAND": "VERSION"}
INSTALL = ROOT / "scripts" / "install"


def run(program: Path, **environ: str) -> str:
    done = subprocess.run([program], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout


def install(prefix: Path, *arguments: str) -> str:
    command = [str(INSTALL), "--prefix", str(prefix), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


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


def test_what_is_loaded_only_for_complaints_is_inside(bundle: Path) -> None:
    """pyroute2's logging and tracebacks, which nothing imports before it has something to say."""
    folder = (bundle / "cni-cnm").resolve().parent / "_internal"
    for module in ("logging/__init__", "pkgutil", "traceback"):
        assert (folder / f"{module}.pyc").exists(), module


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


def test_installed_it_runs_and_is_taken_back_whole(bundle: Path, tmp_path: Path) -> None:
    """A second install over the first changes nothing; --uninstall leaves no file."""
    install(tmp_path, "--conflist", "podnet")
    before = (tmp_path / "opt/cni/lib/cni-cnm" / __version__).stat().st_ino
    install(tmp_path, "--conflist", "podnet")
    assert (tmp_path / "opt/cni/lib/cni-cnm" / __version__).stat().st_ino == before
    program = tmp_path / "opt/cni/bin/cni-cnm"
    assert run(program, **CALL) == run(bundle / "cni-cnm", **CALL)
    assert os.readlink(tmp_path / "opt/cni/lib/cni-cnm/current") == __version__
    assert [path.name for path in (tmp_path / "opt/cni/lib/cni-cnm").iterdir()].count(__version__) == 1
    installed = tmp_path / "etc/cni/net.d/10-cni-cnm-podnet.conflist"
    assert installed.read_bytes() == (ROOT / "conf/cni-1.0.0/podnet.conflist").read_bytes()
    install(tmp_path, "--conflist", "podnet", "--cni-version", "1.1.0")
    assert installed.read_bytes() == (ROOT / "conf/cni-1.1.0/podnet.conflist").read_bytes()
    install(tmp_path, "--uninstall")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


MANAGERS = {
    "etc/systemd/network/05-cni-cnm.network": "systemd-networkd/05-cni-cnm.network",
    "etc/systemd/network/05-cni-cnm.link": "systemd-networkd/05-cni-cnm.link",
    "etc/systemd/networkd.conf.d/cni-cnm.conf": "systemd-networkd/networkd.conf",
    "etc/NetworkManager/conf.d/cni-cnm.conf": "NetworkManager/cni-cnm.conf",
}
"""Places of the files for other managers of links, and the files of conf/."""


@pytest.mark.parametrize("there", [["systemd/network"], ["NetworkManager"], ["systemd/network", "NetworkManager"], []])
def test_files_for_other_managers(bundle: Path, tmp_path: Path, there: list[str]) -> None:
    """Only those of a manager whose folder exists, only if requested; --uninstall removes them, and nothing else."""
    own = [tmp_path / "etc" / folder / "own.conf" for folder in there]
    for path in own:
        path.parent.mkdir(parents=True)
        path.touch()
    said = install(tmp_path)
    assert ("--managers" in said) is bool(there)
    assert [place for place in MANAGERS if (tmp_path / place).exists()] == []
    said = install(tmp_path, "--managers")
    assert ("nothing for --managers" in said) is (not there)
    assert ("restart systemd-networkd" in said) is ("systemd/network" in there)
    expected = {place: name for place, name in MANAGERS.items() if place.startswith(tuple(f"etc/{t}" for t in there))}
    found = {place: (tmp_path / place).read_bytes() for place in MANAGERS if (tmp_path / place).exists()}
    assert found == {place: (ROOT / "conf" / name).read_bytes() for place, name in expected.items()}
    install(tmp_path, "--managers")
    install(tmp_path, "--uninstall")
    assert sorted(path for path in tmp_path.rglob("*") if not path.is_dir()) == sorted(own)


def test_a_foreign_loopback_stays(bundle: Path, tmp_path: Path) -> None:
    """Another's `loopback` is left alone and mentioned; forced, it is kept aside and comes back."""
    loopback = tmp_path / "opt/cni/bin/loopback"
    loopback.parent.mkdir(parents=True)
    loopback.write_text("foreign", encoding="utf-8")
    assert "not ours" in install(tmp_path)
    assert loopback.read_text(encoding="utf-8") == "foreign"
    install(tmp_path, "--force-loopback")
    assert loopback.resolve().name == "relay"
    install(tmp_path, "--uninstall")
    assert loopback.read_text(encoding="utf-8") == "foreign"


def test_an_old_version_stays_while_it_runs(bundle: Path, tmp_path: Path) -> None:
    """What a process is running is not removed under it; the next install removes it."""
    lib = tmp_path / "opt/cni/lib/cni-cnm"
    install(tmp_path)
    shutil.copytree(lib / __version__, lib / "0.0.1", symlinks=True)
    environ = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_PATH": "/"}
    with subprocess.Popen(
        [lib / "0.0.1/cni-cnm"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as held:
        try:
            assert "kept" in install(tmp_path)
            assert (lib / "0.0.1").is_dir()
        finally:
            held.kill()
    install(tmp_path)
    assert not (lib / "0.0.1").exists()


def test_another_build_of_a_version_that_runs_goes_beside_it(bundle: Path, tmp_path: Path) -> None:
    """A process that runs goes on to load its modules where it found the first ones; later that build goes."""
    lib = tmp_path / "opt/cni/lib/cni-cnm"
    install(tmp_path)
    (lib / __version__ / "_internal/another-build").touch()
    environ = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_PATH": "/"}
    with subprocess.Popen(
        [lib / "current/cni-cnm"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as held:
        try:
            assert "kept" in install(tmp_path)
            assert os.readlink(f"/proc/{held.pid}/exe") == str(lib / __version__ / "cni-cnm")
            assert (lib / __version__ / "_internal/another-build").exists()
            assert os.readlink(lib / "current") == f"{__version__}-2"
            assert json.loads(run(tmp_path / "opt/cni/bin/cni-cnm", **CALL))
        finally:
            held.kill()
    install(tmp_path)
    assert sorted(path.name for path in lib.iterdir()) == [f"{__version__}-2", "current"]


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["--conflist", "no-such-example"], ["--conflist", "podnet", "--cni-version", "1.2.0"]]
)
def test_install_refuses_what_it_does_not_know(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    """A wrong argument is refused before anything is written."""
    done = subprocess.run([INSTALL, "--prefix", tmp_path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr
    assert list(tmp_path.iterdir()) == []
