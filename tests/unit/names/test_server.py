from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import pytest

from cni_cnm.kernel.inotify import Inotify
from cni_cnm.names import hosts_files, nerdctl, server
from tests.program import ROOT

TOLD = server.Served("net", "net.internal", "br-1", (ip_network("10.1.2.0/24"),))


def test_other_questions_go_where_the_network_says() -> None:
    resolv_conf = f"--resolv-file={os.path.realpath('/etc/resolv.conf')}"
    assert resolv_conf in server.arguments(TOLD, "/run/x")
    named = server.arguments(TOLD._replace(upstreams=("192.0.2.1", "2001:db8::1")), "/run/x")
    assert {"--no-resolv", "--server=192.0.2.1", "--server=2001:db8::1"} <= set(named)
    assert resolv_conf not in named
    internal = server.arguments(TOLD._replace(internal=True), "/run/x")
    assert {"--no-resolv", "--address=/#/"} <= set(internal)
    assert not [word for word in internal if word.startswith(("--server", "--resolv-file"))]


def test_a_domain_that_others_know_too_is_asked_upstream() -> None:
    assert "--local=/net.internal/" in server.arguments(TOLD, "/run/x")
    assert "--local=/example.org/" not in server.arguments(TOLD._replace(domain="example.org", local=False), "/run/x")


def test_why_a_server_has_ended(tmp_path: Path) -> None:
    folder = Path(hosts_files.folder_of(str(tmp_path / "run"), "net"))
    folder.mkdir(parents=True)
    assert server.last_words(str(tmp_path / "run"), "net") == ""
    (folder / ".log").write_text("\ndnsmasq: failed to create\tlistening socket\n\n")
    assert server.last_words(str(tmp_path / "run"), "net") == "dnsmasq: failed to create?listening socket"
    server.keep_last_words(str(tmp_path / "run"), "net")
    (folder / ".log").write_text("")
    assert server.last_words(str(tmp_path / "run"), "net") == "dnsmasq: failed to create?listening socket"
    server.keep_last_words(str(tmp_path / "run"), "net")
    (folder / ".log").write_text("another\n")
    assert server.last_words(str(tmp_path / "run"), "net") == "another"


def test_a_server_has_begun_when_it_watches_its_folder() -> None:
    """A process that watches something and does not execute dnsmasq yet has not, and one that has ended neither."""
    with closing(Inotify()):
        assert not server.has_begun(os.getpid())
    for watches in (True, False):
        code = f"from cni_cnm.kernel.inotify import Inotify; kept = {watches} and Inotify(); print(flush=True); input()"
        with subprocess.Popen(
            [str(Path(sys.executable).with_name("dnsmasq")), "-c", code],
            executable=sys.executable, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout
            process.stdout.readline()
            assert server.has_begun(process.pid) is watches
            process.kill()
        assert not server.has_begun(process.pid)


def test_a_command_line_is_ours_by_its_program_and_folder() -> None:
    ours = ["/usr/sbin/dnsmasq", *server.arguments(TOLD, "/run/x")]
    assert server.is_server(ours, "/run/x", "net")
    assert server.is_server(ours, "/run/x")
    assert server.network_of(ours) == "net"
    assert not server.is_server(ours, "/run/x", "ne")
    assert not server.is_server(ours, "/run/other")
    assert not server.is_server(["/usr/bin/other", *ours[1:]], "/run/x")
    assert not server.is_server(["/usr/sbin/dnsmasq", "--hostsdir=/etc/hosts.d"], "/run/x")
    assert not server.is_server([], "/run/x")


def test_a_server_leads_its_session_and_its_processes_for_connections_do_not() -> None:
    """By /proc, as dnsmasq's processes differ in nothing else."""
    ours = server.arguments(TOLD, "/run/cni-cnm-test")
    for leads in (True, False):
        sleep = "import sys, time; print(flush=True); time.sleep(60)"
        with subprocess.Popen(
            ["dnsmasq", "-c", sleep, *ours], executable=sys.executable, start_new_session=leads, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            process.stdout.readline()
            try:
                assert (process.pid in server.find("/run/cni-cnm-test", "net")) is leads
                assert not server.is_stopped(process.pid)
                server.kill_connections("/run/cni-cnm-test", "net")
                assert (process.poll() is None) is leads or process.wait() == -signal.SIGKILL
                process.send_signal(signal.SIGSTOP)
                if leads:
                    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
                    assert server.is_stopped(process.pid)
            finally:
                process.kill()


def test_the_resolv_conf_of_the_host_is_read_where_its_links_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("etc", "run", "systemd"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(server, "RESOLV_CONF", str(tmp_path / "etc/resolv.conf"))
    assert server.resolv_conf_folders() == [str(tmp_path / "etc")]
    assert f"--resolv-file={tmp_path}/etc/resolv.conf" in server.arguments(TOLD, "/run/x")
    (tmp_path / "etc/resolv.conf").symlink_to("../run/resolv.conf")
    (tmp_path / "run/resolv.conf").symlink_to(tmp_path / "systemd/stub.conf")
    assert [os.path.realpath(one) for one in server.resolv_conf_folders()] == [f"{tmp_path}/etc", f"{tmp_path}/run"]
    assert f"--resolv-file={tmp_path}/systemd/stub.conf" in server.arguments(TOLD, "/run/x")
    (tmp_path / "systemd/stub.conf").symlink_to("../etc/resolv.conf")
    assert len(server.resolv_conf_folders()) <= 10


def test_a_file_is_replaced_whole_and_files_that_begin_with_a_dot_are_no_names(tmp_path: Path) -> None:
    folder = str(tmp_path)
    hosts_files.write(folder, "e1", "10.1.2.3 web\n")
    hosts_files.write(folder, "e1", "10.1.2.4 web\n")
    (tmp_path / ".log").write_text("")
    assert hosts_files.read_all(folder) == {"e1": "10.1.2.4 web\n"}
    hosts_files.remove(folder, "e1")
    hosts_files.remove(folder, "e1")
    assert hosts_files.read(folder, "e1") is None
    hosts_files.remove_folder(folder)
    assert not tmp_path.exists()


def test_the_name_that_nerdctl_has_given(tmp_path: Path) -> None:
    store = tmp_path / "1935db59" / "names" / "my-space"
    store.mkdir(parents=True)
    (store / "web").write_text("c" * 64)
    (store / "db").write_text("d" * 64)
    assert nerdctl.names("my-space-" + "c" * 64, str(tmp_path)) == ["web"]
    assert nerdctl.names("my-space-" + "e" * 64, str(tmp_path)) == []
    assert nerdctl.names("c1", str(tmp_path / "absent")) == []
    assert nerdctl.host_name("IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=front;") == "front"
    assert nerdctl.host_name("IgnoreUnknown=1") == ""


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ('namespace = "k8s.io"\ndata_root = "/srv/nerdctl/"  # here\n', "/srv/nerdctl"),
        ("'data_root'='/srv/other'", "/srv/other"),
        ('# data_root = "/srv/nerdctl"\ndata_root_other = "/x"\n', "/var/lib/nerdctl"),
        ('data_root = ""', "/var/lib/nerdctl"),
        ("data_root = 5", "/var/lib/nerdctl"),
        ("", "/var/lib/nerdctl"),
    ],
)
def test_where_nerdctl_keeps_its_files(tmp_path: Path, text: str, root: str) -> None:
    (tmp_path / "nerdctl.toml").write_text(text)
    assert nerdctl.data_root(str(tmp_path / "nerdctl.toml")) == root
    assert nerdctl.data_root(str(tmp_path / "absent")) == "/var/lib/nerdctl"
