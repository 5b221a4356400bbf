"""scripts/install: what it puts on a host and takes back, what it never overwrites, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cni_cnm import __version__
from cni_cnm.conflists import pod_network, written_files
from tests.program import ROOT
from tests.system.daemon import Daemon
from tests.system.node import Done, Node
from tests.system.test_bundle import CALL, run
from tests.system.test_containerd_config import containerd
from tests.waiting import until

INSTALL = ROOT / "scripts" / "install"
CONFLIST = "etc/cni/net.d/10-cni-cnm-podnet.conflist"
PODNET = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm"}


def install(prefix: Path, *arguments: str) -> str:
    command = [str(INSTALL), "--prefix", str(prefix), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


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
    assert os.readlink(tmp_path / "usr/local/bin/cni-cnm") == "/opt/cni/bin/cni-cnm"
    assert (tmp_path / "usr/local/share/man/man8/cni-cnm.8").read_text("utf-8").startswith('.TH "CNI-CNM" "8"')
    assert (tmp_path / "opt/cni/share/cni-cnm/docs/operations.md").exists()
    installed = tmp_path / CONFLIST
    assert installed.read_bytes() == (ROOT / "conf/cni-1.0.0/podnet.conflist").read_bytes()
    install(tmp_path, "--conflist", "podnet", "--cni-version", "1.1.0")
    assert installed.read_bytes() == (ROOT / "conf/cni-1.1.0/podnet.conflist").read_bytes()
    install(tmp_path, "--uninstall")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_an_edited_file_is_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    """The new one is beside it, under a name that runtimes do not read. --uninstall keeps it, --purge does not."""
    install(tmp_path, "--conflist", "podnet", "--service")
    conflist, unit = tmp_path / CONFLIST, tmp_path / "etc/systemd/system/cni-cnm.service"
    for edited in (conflist, unit):
        edited.write_text("edited", encoding="utf-8")
    said = install(tmp_path, "--conflist", "podnet", "--service")
    for edited, source in ((conflist, "cni-1.0.0/podnet.conflist"), (unit, "cni-cnm.service")):
        assert edited.read_text("utf-8") == "edited"
        beside = edited.with_name(f"{edited.name}.new")
        assert beside.read_bytes() == (ROOT / "conf" / source).read_bytes()
        assert f"which was edited: the new one is /{beside.relative_to(tmp_path)}" in said
    unit.with_name("cni-cnm.service.new").rename(unit)  # taken over: no longer an edited one
    assert "cni-cnm.service" not in install(tmp_path, "--service")
    said = install(tmp_path, "--uninstall")
    assert f"as /{CONFLIST}.saved" in said
    kept = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir()]
    assert kept == [Path(f"{CONFLIST}.saved")]
    conflist.with_name(f"{conflist.name}.saved").unlink()
    install(tmp_path, "--conflist", "podnet")
    conflist.write_text("edited", encoding="utf-8")
    install(tmp_path, "--uninstall", "--purge")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_settings(bundle: Path, tmp_path: Path) -> None:
    """They follow the file, unless they were made on the host; comments alone are none. The version before stays."""
    host, given = tmp_path / "host", tmp_path / "given.toml"
    config, lib = host / "etc/cni-cnm/config.toml", host / "opt/cni/lib/cni-cnm"
    config.parent.mkdir(parents=True)
    config.write_text("# port_wait = 5\n\n", encoding="utf-8")
    (lib / "0.0.1").mkdir(parents=True)
    (lib / "current").symlink_to("0.0.1")
    for text in ("port_wait = 6\n", "port_wait = 7\n"):
        given.write_text(text, encoding="utf-8")
        install(host, "--container", "--settings", str(given))
        assert config.read_text("utf-8") == text
    assert sorted(path.name for path in lib.iterdir()) == ["0.0.1", __version__, "current"]
    config.write_text("port_wait = 8\n", encoding="utf-8")
    command = [str(INSTALL), "--prefix", str(host), "--container", "--settings", str(given)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "has settings that were made on this host" in refused.stderr
    assert config.read_text("utf-8") == "port_wait = 8\n"


def test_wrong_settings_change_nothing(bundle: Path, tmp_path: Path) -> None:
    """The version that is to be installed reads them first. The node keeps the program and the settings it has."""
    host, given = tmp_path / "host", tmp_path / "given.toml"
    given.write_text("port_wait = 6\n", encoding="utf-8")
    install(host, "--container", "--settings", str(given))
    lib = host / "opt/cni/lib/cni-cnm"
    (lib / __version__).rename(lib / "0.0.1")
    (lib / "current").unlink()
    (lib / "current").symlink_to("0.0.1")
    before = {path: os.lstat(path).st_ino for path in host.rglob("*")}
    given.write_text('[cluster]\nstore = "kubernetes"\nmtu = 1400\n', encoding="utf-8")
    command = [str(INSTALL), "--prefix", str(host), "--container", "--settings", str(given)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "given.toml: cluster.mtu is an unknown key" in refused.stderr
    assert {path: os.lstat(path).st_ino for path in host.rglob("*")} == before


@pytest.mark.parametrize(
    "line", ["{} = '{}'", '  {} = "{}"', '{}\t= "{}"', '{} = "{}"  # as "kubeadm" wants', '"{}" = """{}"""']
)
def test_uninstall_reads_settings_as_the_program_does(bundle: Path, tmp_path: Path, line: str) -> None:
    """Whatever form of TOML they have: pods are found, and the runtime's file goes with the program."""
    conflist, other = tmp_path / "etc/cni/net.d/20-pods.conflist", tmp_path / "etc/cni/net.d/30-other.conflist"
    endpoint = tmp_path / "srv/run/endpoints/e.json"
    for path, text in ((conflist, '{"type": "cni-cnm"}'), (other, '{"type": "other"}'), (endpoint, "{}")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    install(tmp_path, "--container")
    config = tmp_path / "etc/cni-cnm/config.toml"
    config.parent.mkdir()
    settings = (line.format("run_dir", "/srv/run"), "[cluster]", 'store = "kubernetes"',
                line.format("conflist", "/etc/cni/net.d/20-pods.conflist"))  # fmt: skip
    config.write_text("\n".join(settings), encoding="utf-8")
    command = [str(INSTALL), "--prefix", str(tmp_path), "--uninstall"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
    assert conflist.exists()
    endpoint.unlink()
    install(tmp_path, "--uninstall", "--purge")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [other]


def test_uninstall_finds_files_of_earlier_settings(bundle: Path, tmp_path: Path) -> None:
    """Those that the agent has recorded, if they are still ours. Settings that are wrong are no reason to guess."""
    install(tmp_path, "--container")
    folder, state = tmp_path / "etc/cni/net.d", tmp_path / "srv/state"
    folder.mkdir(parents=True)
    names = ("10-earlier.conflist", "20-pods.conflist", "30-taken.conflist")
    for name in names:
        written_files.add(str(state), f"/etc/cni/net.d/{name}")
        pod_network.write(str(folder / name), "pods")
    (folder / "30-taken.conflist").write_text('{"type": "other"}', encoding="utf-8")
    config = tmp_path / "etc/cni-cnm/config.toml"
    config.parent.mkdir()
    right = 'state_dir = "/srv/state"\n[cluster]\nstore = "kubernetes"\nconflist = "/etc/cni/net.d/20-pods.conflist"\n'
    config.write_text(f"{right}mtu = 1400\n", encoding="utf-8")
    command = [str(INSTALL), "--prefix", str(tmp_path), "--uninstall"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, "cluster.mtu is an unknown key" in refused.stderr) == (1, True)
    assert len(list(folder.iterdir())) == 3
    config.write_text(right, encoding="utf-8")
    install(tmp_path, "--uninstall")
    assert [path.name for path in folder.iterdir()] == ["30-taken.conflist"]


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_are_ours(bundle: Path, tmp_path: Path, umask: int) -> None:
    """Under any umask: runtimes without root read the program too, and users the manual page. Only root writes."""
    command = [str(INSTALL), "--prefix", str(tmp_path / "host"), "--conflist", "podnet", "--service"]
    subprocess.run(command, check=True, capture_output=True, umask=umask)
    found = {path: path.stat().st_mode for path in (tmp_path / "host").rglob("*") if not path.is_symlink()}
    assert len(found) > 100
    assert [str(path) for path, mode in found.items() if mode & 0o022 or not mode & 0o004] == []


def test_files_of_an_earlier_version_are_removed(bundle: Path, tmp_path: Path) -> None:
    """0.1.0 kept only the names of what it had installed. Such a file counts as edited."""
    share = tmp_path / "opt/cni/share/cni-cnm"
    earlier = {
        CONFLIST: "installed-conflists",
        "etc/systemd/system/cni-cnm.socket": "installed-units",
        "etc/NetworkManager/conf.d/cni-cnm.conf": "installed-managers",
    }
    share.mkdir(parents=True)
    for place, names in earlier.items():
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("earlier", encoding="utf-8")
        name = f"/{place}" if names == "installed-managers" else Path(place).name
        (share / names).write_text(f"{name}\n", encoding="utf-8")
    assert "which was edited" in install(tmp_path, "--conflist", "podnet")
    assert (tmp_path / CONFLIST).read_text("utf-8") == "earlier"
    install(tmp_path, "--uninstall")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.fixture
def host(bundle: Path, node: Node) -> Node:
    """A host with the program installed in its own folders, and one container."""
    node.run("sh", "-c", "mkdir -p /run/o/upper /run/o/work; mount -t overlay -o lowerdir=/usr/local,"
             "upperdir=/run/o/upper,workdir=/run/o/work o /usr/local; rm -rf /opt/cni").ok()  # fmt: skip
    node.run(str(INSTALL), "--conflist", "podnet").ok()
    node.add_netns("c1")
    call(node, "ADD").ok()
    return node


def call(node: Node, verb: str, **more: str) -> Done:
    environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
               "CNI_PATH": "/opt/cni/bin", **more}  # fmt: skip
    return node.run("/opt/cni/bin/cni-cnm", stdin=json.dumps(PODNET), env=environ)


COMPLETE = """
. /usr/local/share/bash-completion/completions/cni-cnm
COMP_WORDS=(cni-cnm network inspect '')
COMP_CWORD=3
_cni_cnm
echo "${COMPREPLY[@]}"
"""
OURS = ("/opt", "/etc/cni", "/usr/local/bin", "/usr/local/share/man", "/var/lib/cni-cnm", "/var/lib/cni")


def test_with_live_endpoints_nothing_is_uninstalled(host: Node) -> None:
    """They are listed, the exit code is 3, and no file has changed. With --force the program goes, the pod stays."""
    before = host.files(*OURS)
    for arguments in (["--uninstall"], ["--uninstall", "--purge"]):
        refused = host.run(str(INSTALL), *arguments)
        assert (refused.code, refused.out) == (3, "")
        assert "podnet" in refused.err
        assert "nothing was uninstalled" in refused.err
        assert host.files(*OURS) == before
    host.run(str(INSTALL), "--uninstall", "--force").ok()
    assert not host.path("/opt/cni/bin/cni-cnm").is_symlink()
    assert host.ping(next(iter(host.addresses("eth0", netns="/run/netns/c1"))).partition("/")[0])


def test_purge_leaves_no_network(host: Node) -> None:
    """With --force endpoints go as well: no link, table, lease or record of ours is left. Other leases are."""
    host.run("cni-cnm", "network", "create", "shop").ok()
    host.write("/var/lib/cni/networks/shop/10.0.0.9", "other\r\neth0")
    call(host, "ADD")
    said = host.run("/opt/cni/share/cni-cnm/scripts/install", "--uninstall", "--purge", "--force").ok()
    assert "kept /var/lib/cni/networks/shop: another program has leases in it" in said.out
    assert host.links() == {"lo"}
    assert "cni_cnm" not in host.run("nft", "list", "ruleset").ok().out
    assert {path for path in host.files(*OURS) if "cni-cnm" in path or "podnet" in path} == set()
    assert host.files("/run/cni-cnm") == set()


@pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="dnsmasq-base is not installed")
def test_name_servers_end_with_the_program(host: Node) -> None:
    """They outlive the service. A dnsmasq of another program goes on."""
    servers = ("pgrep", "-f", "dnsmasq .*--hostsdir=/run/cni-cnm-names/named$")
    other = Daemon(host, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--port=0")
    try:
        host.run("cni-cnm", "network", "create", "named", "--dns").ok()
        service = Daemon(host, "/opt/cni/lib/cni-cnm/current/cni-cnm", "serve")
        until(lambda: host.run(*servers).out, "a name server")
        service.stop()
        assert host.run(*servers).out
        host.run(str(INSTALL), "--uninstall", "--force").ok()
        until(lambda: not host.run(*servers).out, "the end of the name server")
        assert not host.path("/run/cni-cnm-names").exists()
        assert other.running
    finally:
        other.stop()


def test_the_copy_on_the_node_installs_and_removes(host: Node) -> None:
    """Without the checkout: another example, then all of it, after the container has gone. The program is on PATH."""
    copy = "/opt/cni/share/cni-cnm/scripts/install"
    host.run(copy, "--conflist", "dual-stack", "--service").ok()
    assert host.path("/etc/cni/net.d/10-cni-cnm-dual-stack.conflist").exists()
    assert "podnet" in host.run("cni-cnm", "endpoint", "ls").ok().out
    assert "podnet" in host.run("bash", "-c", COMPLETE).ok().out.split()
    call(host, "DEL").ok()
    host.run(copy, "--uninstall").ok()
    assert {path for path in host.files("/opt/cni", "/etc/cni", "/etc/systemd/system") if "cni-cnm" in path} == set()
    assert host.path("/var/lib/cni-cnm/networks/podnet.json").exists()


def test_after_an_upgrade_it_says_what_to_restart(host: Node) -> None:
    """A service of the earlier version goes on: the line names it and the command. After that there is none."""
    service = Daemon(host, "/opt/cni/lib/cni-cnm/current/cni-cnm", "serve")
    try:
        service.wait(host.path("/run/cni-cnm/service.sock").exists)
        (host.path("/opt/cni/lib/cni-cnm") / __version__ / "_internal/another-build").touch()
        said = host.run(str(INSTALL)).ok().out
        assert said.count(f"still runs {__version__}: systemctl restart cni-cnm.service") == 1
    finally:
        service.stop()
    assert "systemctl restart cni-cnm" not in host.run(str(INSTALL)).ok().out


def test_a_service_that_a_call_left_behind_keeps_no_old_version(host: Node) -> None:
    """It is ended before the old version is removed: nothing is said of a restart."""
    for verb in ("DEL", "ADD"):
        call(host, verb, CNI_CNM_LINGER="").ok()
    until(host.path("/run/cni-cnm/service.sock").exists, "a service lingers")
    (host.path("/opt/cni/lib/cni-cnm") / __version__ / "_internal/another-build").touch()
    said = host.run(str(INSTALL)).ok().out
    assert "kept" not in said
    assert "restart" not in said
    assert {path.name for path in host.path("/opt/cni/lib/cni-cnm").iterdir()} == {f"{__version__}-2", "current"}


def test_an_ordinary_user_gets_one_sentence(require_root: None, bundle: Path) -> None:
    """What is missing and what to do, before anything is written."""
    with TemporaryDirectory() as folder:  # the user may not read the checkout, if its folder is private
        scripts = Path(folder) / "scripts"
        shutil.copytree(INSTALL.parent, scripts)
        Path(folder).chmod(0o755)
        as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", str(scripts / INSTALL.name)]
        done = subprocess.run(as_nobody, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "needs root" in done.stderr


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
    "arguments",
    [
        ["--nonsense"],
        ["--purge"],
        ["--wait"],
        ["--container", "--settings", "/nonexistent/config.toml"],
        ["--conflist", "no-such-example"],
        ["--conflist", "podnet", "--cni-version", "1.2.0"],
    ],
)
def test_install_refuses_what_it_does_not_know(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    """A wrong argument is refused before anything is written."""
    done = subprocess.run([INSTALL, "--prefix", tmp_path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr
    assert list(tmp_path.iterdir()) == []


# names of the reference plugins -------------------------------------------------------------------

NAMES = {"bridge", "host-local", "static", "portmap", "firewall", "bandwidth", "tuning", "loopback", "ptp", "macvlan",
         "ipvlan", "host-device", "sbr"}  # fmt: skip
DROP_IN = "/opt/cni/drop-in"


def plugin(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def files(folder: Path) -> dict[str, str | bytes]:
    """Each file of a tree with its content, or where it links to."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_folder_with_the_names_of_the_reference_plugins(bundle: Path, tmp_path: Path) -> None:
    """Each name is the program, the originals are beside it, and other plugins of the host are there, too."""
    plugin(tmp_path / "usr/lib/cni/bridge", "debian's")
    plugin(tmp_path / "usr/lib/cni/vlan", "debian's")
    plugin(tmp_path / "opt/cni/bin/vlan", "upstream's")
    plugin(tmp_path / "opt/cni/bin/dhcp", "upstream's")
    before = files(tmp_path)
    assert DROP_IN not in install(tmp_path)
    assert not (tmp_path / "opt/cni/drop-in").exists()
    said = install(tmp_path, "--drop-in")
    folder = tmp_path / "opt/cni/drop-in"
    linked = {path.name: os.readlink(path) for path in folder.iterdir()}
    assert {name for name, to in linked.items() if to == "../lib/cni-cnm/current/relay"} == {*NAMES, "cni-cnm"}
    assert {name: to for name, to in linked.items() if not to.startswith("..")} == {
        "bridge.distrib": "/usr/lib/cni/bridge",
        "vlan": "/usr/lib/cni/vlan",
        "dhcp": "/opt/cni/bin/dhcp",
    }
    for name in ("cni-cnm", *NAMES):
        version = run(folder / name, CNI_COMMAND="VERSION")
        assert "0.4.0" in json.loads(version)["supportedVersions"]
    assert install(tmp_path, "--drop-in") == said
    assert "take it out of the settings" in install(tmp_path, "--uninstall")
    assert files(tmp_path) == before


def test_a_runtime_finds_every_name_while_it_is_installed_again(bundle: Path, tmp_path: Path) -> None:
    """At each link that the script makes. What has changed on the host is linked, without --drop-in too."""
    plugin(tmp_path / "usr/lib/cni/bridge", "debian's")
    plugin(tmp_path / "usr/lib/cni/vlan", "debian's")
    install(tmp_path, "--drop-in")
    folder, missing = tmp_path / "opt/cni/drop-in", tmp_path / "missing"
    tools = tmp_path / "tools"
    lines = "".join(
        f"[ -L {folder}/{name} ] || echo {name} >>{missing}\n" for name in ("bridge", "bridge.distrib", "vlan")
    )
    for name in ("ln", "mv", "rm"):
        plugin(tools / name, "")
        (tools / name).write_text(f'#!/bin/sh\n{lines}exec {shutil.which(name)} "$@"\n', encoding="utf-8")
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run([INSTALL, "--prefix", tmp_path, "--drop-in"], check=True, capture_output=True, env=environ)
    assert not missing.exists()
    os.remove(tmp_path / "usr/lib/cni/vlan")
    assert DROP_IN not in install(tmp_path, "--replace")
    assert os.readlink(folder / "bridge.distrib") == "/usr/lib/cni/bridge.distrib"
    assert not os.path.lexists(folder / "vlan")


def test_the_places_of_the_reference_plugins(bundle: Path, tmp_path: Path) -> None:
    """They stay beside ours. A second install replaces nothing, and --uninstall restores them."""
    plugin(tmp_path / "usr/lib/cni/bridge", "debian's")
    plugin(tmp_path / "usr/lib/cni/vlan", "debian's")
    plugin(tmp_path / "opt/cni/bin/loopback", "upstream's")
    before = files(tmp_path)
    said = install(tmp_path, "--replace", "--drop-in")
    assert "replaced /usr/lib/cni/bridge /opt/cni/bin/loopback" in said
    ours = {"usr/lib/cni/bridge": "/opt/cni/lib/cni-cnm/current/relay", "opt/cni/bin/loopback": "cni-cnm"}
    for place, target in ours.items():
        assert os.readlink(tmp_path / place) == target
        assert (tmp_path / f"{place}.distrib").read_bytes() == before[place]
    assert not (tmp_path / "usr/lib/cni/vlan").is_symlink()
    assert os.readlink(tmp_path / "opt/cni/drop-in/bridge.distrib") == "/usr/lib/cni/bridge.distrib"
    after = files(tmp_path)
    assert "replaced" not in install(tmp_path, "--replace", "--drop-in")
    assert files(tmp_path) == after
    install(tmp_path, "--uninstall")
    assert files(tmp_path) == before


def test_without_reference_plugins_nothing_is_replaced(bundle: Path, tmp_path: Path) -> None:
    assert "nothing for --replace" in install(tmp_path, "--replace")
    install(tmp_path, "--uninstall")
    assert files(tmp_path) == {}


def test_on_debian_the_reference_plugins_are_diverted(bundle: Path, node: Node) -> None:
    """dpkg knows of it, so an upgrade of their package writes beside ours. --uninstall leaves no diversion."""
    if not shutil.which("dpkg-divert") or not node.path("/usr/lib/cni/bridge").exists():
        pytest.skip("no dpkg, or no reference plugins")
    for folder in ("/usr/lib/cni", "/usr/local"):
        work = f"/run/o{folder}"
        node.run("sh", "-c", f"mkdir -p {work}/upper {work}/work; mount -t overlay -o lowerdir={folder},"
                 f"upperdir={work}/upper,workdir={work}/work o {folder}").ok()  # fmt: skip
    node.run("rm", "-rf", "/opt/cni").ok()
    original = node.path("/usr/lib/cni/bridge").read_bytes()
    node.run("mount", "-o", "remount,ro,bind", "/usr/lib/cni").ok()
    refused = node.run(str(INSTALL), "--replace")
    assert (refused.code, "/usr/lib/cni cannot be written, so bridge is not" in refused.err) == (1, True)
    node.run("mount", "-o", "remount,rw,bind", "/usr/lib/cni").ok()
    node.run(str(INSTALL), "--replace").ok()
    assert node.run("dpkg-divert", "--truename", "/usr/lib/cni/bridge").ok().out == "/usr/lib/cni/bridge.distrib\n"
    assert node.path("/usr/lib/cni/bridge.distrib").read_bytes() == original
    assert os.readlink(node.path("/usr/lib/cni/bridge")) == "/opt/cni/lib/cni-cnm/current/relay"
    version = node.run("/usr/lib/cni/bridge", env={"CNI_COMMAND": "VERSION"}).ok()
    assert "1.0.0" in json.loads(version.out)["supportedVersions"]
    node.run(str(INSTALL), "--uninstall").ok()
    assert node.run("dpkg-divert", "--list", "/usr/lib/cni/*").ok().out == ""
    assert node.path("/usr/lib/cni/bridge").read_bytes() == original
    assert not node.path("/usr/lib/cni/bridge.distrib").exists()


def test_what_the_runtimes_are_told_is_literal(bundle: Path, tmp_path: Path) -> None:
    """The lines of containerd are taken by containerd, and podman finds its plugins by those of podman."""
    said = install(tmp_path, "--drop-in")
    blocks: dict[str, str] = {}
    for line in said.splitlines():
        if line.startswith("  ") and not line.startswith("    "):
            title = line.strip()
            blocks[title] = ""
        elif line.startswith("    "):
            blocks[title] += f"{line[4:]}\n"
    old, new, podman = (
        next(text for title, text in blocks.items() if title.startswith(begin))
        for begin in ("containerd before", "containerd 2.1", "podman")
    )
    found = []
    for release, form, text in (("1", 2, old), ("2", 2, old), ("2", 3, new)):
        try:
            program = containerd(release)
        except pytest.skip.Exception:
            continue
        config = tmp_path / "config.toml"
        config.write_text(f"version = {form}\n{text}", "utf-8")
        dumped = subprocess.run([program, "--config", str(config), "config", "dump"], capture_output=True, text=True)
        found.append((release, DROP_IN in dumped.stdout))
    assert all(taken for _, taken in found)
    assert tomllib.loads(podman) == {"network": {"cni_plugin_dirs": [DROP_IN]}}
