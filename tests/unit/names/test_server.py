from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from cni_cnm.names import hosts_files, nerdctl, server

TOLD = server.Served("net", "net.internal", "br-1", (ip_network("10.1.2.0/24"),))


def test_other_questions_go_where_the_network_says() -> None:
    assert "--resolv-file=/etc/resolv.conf" in server.arguments(TOLD, "/run/x")
    named = server.arguments(TOLD._replace(upstreams=("192.0.2.1", "2001:db8::1")), "/run/x")
    assert {"--no-resolv", "--server=192.0.2.1", "--server=2001:db8::1"} <= set(named)
    assert "--resolv-file=/etc/resolv.conf" not in named
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
    args = "IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=front;"
    assert nerdctl.names("my-space-" + "c" * 64, args, str(tmp_path)) == ["web", "front"]
    assert nerdctl.names("my-space-" + "e" * 64, "", str(tmp_path)) == []
    assert nerdctl.names("c1", "", str(tmp_path / "absent")) == []
