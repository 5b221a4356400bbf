"""TLS and users of real etcd: what is verified, what is read again when it changes, and what an error says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.stores import open_directory, warnings
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError, DirectoryUnreachable
from tests.cluster.certificates import Authority
from tests.cluster.etcd_server import EtcdServer, b64, program
from tests.cluster.examples import host, network
from tests.waiting import until

A = host("a")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EtcdServer]]:
    """Starts servers that end with the test."""
    if not program():
        pytest.skip("needs etcd: etcd-server")
    started: list[EtcdServer] = []

    def make(*more: str, **how: object) -> EtcdServer:
        started.append(EtcdServer(tmp_path / f"etcd{len(started)}", *more, **how))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for server in started:
        server.kill()


@pytest.fixture
def opened() -> Iterator[Callable[[ClusterSettings], EtcdDirectory]]:
    made: list[EtcdDirectory] = []

    def make(settings: ClusterSettings) -> EtcdDirectory:
        made.append(EtcdDirectory(settings, 5))
        return made[-1]

    yield make
    for each in made:
        each.close()


def works(directory: EtcdDirectory) -> None:
    """Every kind of request: reading, transaction, lease, watch."""
    directory.announce(A)
    directory.show_life(A)
    directory.show_life(A)
    directory.claim(directory.create_network(network("web")), A)
    watch = directory.watch(directory.snapshot().revision)
    directory.leave("a", instance=A.instance)
    assert any(change.new is None for change in next(watch)[1])
    watch.close()  # type: ignore[attr-defined]


# TLS ---------------------------------------------------------------------------------------


def served(folder: Path, authority: Authority) -> list[str]:
    """etcd's options: it serves with the files in `folder`, and wants a client's certificate."""
    cert, key = authority.issue("server", "IP:127.0.0.1")
    folder.mkdir(exist_ok=True)
    for source, name in ((cert, "cert.pem"), (key, "key.pem"), (authority.file, "ca.pem")):
        shutil.copy(source, folder / name)
    return [
        f"--cert-file={folder}/cert.pem", f"--key-file={folder}/key.pem",
        f"--trusted-ca-file={folder}/ca.pem", "--client-cert-auth",
    ]  # fmt: skip


def test_both_sides_are_verified(
    tmp_path: Path, start: Callable[..., EtcdServer], opened: Callable[[ClusterSettings], EtcdDirectory]
) -> None:
    authority, foreign = Authority(tmp_path / "ca"), Authority(tmp_path / "foreign")
    server = start(tls=served(tmp_path / "served", authority))
    cert, key = map(str, authority.issue("node1"))
    good = ClusterSettings("etcd", (server.url,), ca=str(authority.file), cert=cert, key=key)
    works(opened(good))
    assert not warnings(good)
    for wrong, said in (
        (good._replace(ca=str(foreign.file)), "certificate is not accepted"),
        (good._replace(ca=""), "certificate is not accepted"),
        (good._replace(endpoints=(server.url.replace("127.0.0.1", "localhost"),)), "certificate is not accepted"),
        (good._replace(cert="", key=""), server.url),
        (good._replace(endpoints=(server.url.replace("https", "http"),)), server.url[-5:]),
    ):
        with pytest.raises(DirectoryUnreachable, match=said):
            opened(wrong).snapshot()


@pytest.mark.long
def test_renewed_certificates_need_no_new_start(
    tmp_path: Path, start: Callable[..., EtcdServer], opened: Callable[[ClusterSettings], EtcdDirectory]
) -> None:
    """All files change: the server's, and ours in place. A directory that was open goes on."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    server = start(tls=served(tmp_path / "served", old))
    mine = tmp_path / "mine"
    mine.mkdir()

    def renew(authority: Authority) -> None:
        cert, key = authority.issue("node1")
        for source, name in ((authority.file, "ca"), (cert, "cert"), (key, "key")):
            shutil.copy(source, mine / f"{name}.new")
            (mine / f"{name}.new").chmod(0o600)
            os.replace(mine / f"{name}.new", mine / name)

    renew(old)
    settings = ClusterSettings("etcd", (server.url,), ca=f"{mine}/ca", cert=f"{mine}/cert", key=f"{mine}/key")
    directory = opened(settings)
    works(directory)
    server.stop()
    served(tmp_path / "served", new)
    server.start()
    with pytest.raises(DirectoryUnreachable):
        directory.snapshot()
    renew(new)
    works(directory)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("node1")
    key.chmod(mode)
    settings = ClusterSettings("etcd", ("https://127.0.0.1:1",), ca=str(authority.file), cert=str(cert), key=str(key))
    refused(settings, str(key), f"{mode:04o}", f"chmod 0600 {key}")


def test_a_password_that_others_can_read_is_refused(tmp_path: Path, etcd: EtcdServer) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    settings = ClusterSettings("etcd", (etcd.url,), username="a", password_file=str(file))
    refused(settings, str(file), "0644", f"chmod 0600 {file}")


def test_files_that_are_missing_or_no_pem_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("node1")
    good = ClusterSettings("etcd", ("https://127.0.0.1:1",), ca=str(authority.file), cert=str(cert), key=str(key))
    text = tmp_path / "text"
    text.write_text("no certificate\n")
    text.chmod(0o600)
    other_cert, _ = authority.issue("node2")
    for wrong, named in (
        (good._replace(ca=str(tmp_path / "absent")), "absent"),
        (good._replace(ca=str(text)), str(text)),
        (good._replace(key=str(tmp_path / "absent")), "absent"),
        (good._replace(key=str(text)), str(text)),
        (good._replace(cert=str(other_cert)), str(other_cert)),
    ):
        refused(wrong, named, "", "")


def refused(settings: ClusterSettings, named: str, mode: str, hint: str) -> None:
    directory = open_directory(settings)
    with pytest.raises(DirectoryUnreachable) as caught:
        directory.snapshot()
    directory.close()
    assert named in caught.value.msg
    assert mode in caught.value.msg
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:2379", False),
        ("http://[::1]:2379", False),
        ("http://localhost:2379", False),
        ("https://192.0.2.1:2379", False),
        ("http://192.0.2.1:2379", True),
        ("http://[2001:db8::1]:2379", True),
        ("http://etcd.example:2379", True),
    ],
)
def test_what_is_not_encrypted_over_a_network_has_a_warning_that_stands(url: str, warned: bool) -> None:
    found = warnings(ClusterSettings("etcd", ("https://192.0.2.9:2379", url)))
    assert [url in each for each in found] == [True] * warned


@pytest.mark.long
def test_users_and_certificates_together(
    tmp_path: Path, start: Callable[..., EtcdServer], opened: Callable[[ClusterSettings], EtcdDirectory]
) -> None:
    """etcd's gateway refuses a certificate with a common name while there are users; without one it is taken."""
    authority = Authority(tmp_path / "ca")
    server = start()
    enable_users(server)
    server.stop()
    server.secure(served(tmp_path / "served", authority))
    password = tmp_path / "password"
    password.write_text("first\n")
    password.chmod(0o600)
    cert, key = map(str, authority.issue("node1"))
    named = ClusterSettings(
        "etcd", (server.url,), ca=str(authority.file), cert=cert, key=key, username="node1", password_file=str(password)
    )
    until(lambda: "CommonName" in why(opened(named)), "etcd refuses")
    assert "a certificate without a common name" in why(opened(named))
    cert, key = map(str, authority.issue("nodes", field="O"))
    unnamed = named._replace(cert=cert, key=key)
    works(opened(unnamed))
    assert "username and password_file" in why(opened(unnamed._replace(username="", password_file="")))


def why(directory: EtcdDirectory) -> str:
    """What the error of a list says; "" if there is none."""
    try:
        directory.snapshot()
    except DirectoryUnreachable as error:
        return str(error)
    return ""


# users -----------------------------------------------------------------------------------


@pytest.fixture
def guarded(start: Callable[..., EtcdServer]) -> EtcdServer:
    """A server with users: `node1` may use the keys below /cni-cnm/ only, `other` none."""
    server = start()
    enable_users(server)
    return server


def enable_users(server: EtcdServer) -> None:
    everything = {"key": b64("/cni-cnm/"), "range_end": b64("/cni-cnm0"), "permType": "READWRITE"}
    for call, request in (
        ("auth/role/add", {"name": "root"}),
        ("auth/user/add", {"name": "root", "password": "root"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/role/add", {"name": "nodes"}),
        ("auth/role/grant", {"name": "nodes", "perm": everything}),
        ("auth/user/add", {"name": "node1", "password": "first"}),
        ("auth/user/grant", {"user": "node1", "role": "nodes"}),
        ("auth/user/add", {"name": "other", "password": "first"}),
        ("auth/enable", {}),
    ):
        status, answer = server.gateway(call, request)
        assert status == 200, answer


@pytest.fixture
def login(guarded: EtcdServer, tmp_path: Path) -> ClusterSettings:
    password = tmp_path / "password"
    password.write_text("first\n")
    password.chmod(0o600)
    return ClusterSettings("etcd", (guarded.url,), username="node1", password_file=str(password))


def as_root(server: EtcdServer, call: str, request: object) -> None:
    _, token = server.gateway("auth/authenticate", {"name": "root", "password": "root"})
    status, answer = server.gateway(call, request, token["token"])
    assert status == 200, answer


def test_a_user_needs_the_prefix_and_nothing_else(
    login: ClusterSettings, opened: Callable[[ClusterSettings], EtcdDirectory]
) -> None:
    works(opened(login))
    with pytest.raises(DirectoryUnreachable, match="permission denied") as caught:
        opened(login._replace(username="other")).snapshot()
    assert "grant the user other" in caught.value.hint
    with pytest.raises(DirectoryUnreachable, match="permission denied") as caught:
        opened(login._replace(prefix="/elsewhere")).snapshot()
    assert "/elsewhere/" in caught.value.hint


def test_errors_of_users_say_what_is_missing(
    login: ClusterSettings, opened: Callable[[ClusterSettings], EtcdDirectory], tmp_path: Path
) -> None:
    with pytest.raises(DirectoryUnreachable) as caught:
        opened(login._replace(username="", password_file="")).snapshot()
    assert "username and password_file" in caught.value.hint
    (tmp_path / "password").write_text("wrong\n")
    with pytest.raises(DirectoryUnreachable, match="authentication failed") as caught:
        opened(login).snapshot()
    assert str(tmp_path / "password") in caught.value.hint


@pytest.mark.long
def test_a_token_that_is_void_is_renewed(
    guarded: EtcdServer, login: ClusterSettings, opened: Callable[[ClusterSettings], EtcdDirectory], tmp_path: Path
) -> None:
    """By a restart of the server, by a change of users, and with a password that changed meanwhile."""
    directory = opened(login)
    works(directory)
    guarded.stop()
    guarded.start(wait=False)
    wait_for(directory)
    works(directory)
    as_root(guarded, "auth/user/add", {"name": "third", "password": "x"})
    works(directory)
    as_root(guarded, "auth/user/changepw", {"name": "node1", "password": "second"})
    with pytest.raises(DirectoryUnreachable, match="authentication failed"):
        directory.snapshot()
    (tmp_path / "password").write_text("second\n")
    works(directory)


def wait_for(directory: EtcdDirectory) -> None:
    def answers() -> bool:
        with suppress(CnmError):
            directory.snapshot()
            return True
        return False

    until(answers, "etcd answers")
