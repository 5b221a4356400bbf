"""As whom the API is asked: kubeconfigs, the service account of a pod, tokens and certificates that change."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_cnm.cluster.directory import WatchEnded
from cni_cnm.cluster.kubernetes import credentials as credentials_module
from cni_cnm.cluster.kubernetes.credentials import Credentials
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.kubernetes.kubeconfig import load
from cni_cnm.cluster.stores import open_directory, warnings
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError, DirectoryUnreachable, InvalidConfig, IoFailed
from tests.cluster.certificates import Authority
from tests.cluster.examples import host
from tests.kubernetes.api_server import AGENT, ApiServer, Request

A = host("a")
Config = dict[str, Any]


def config(server: str = "https://192.0.2.1:6443", cluster: Config | None = None, user: Config | None = None) -> Config:
    return {
        "current-context": "c",
        "contexts": [{"name": "other"}, {"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "agent"} if user is None else user}],
    }


def written(path: Path, content: Config | str) -> str:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    path.chmod(0o600)
    return str(path)


def directory(kubeconfig: str) -> KubernetesDirectory:
    return KubernetesDirectory(ClusterSettings("kubernetes", kubeconfig=kubeconfig), 2)


# kubeconfigs ---------------------------------------------------------------------------


def test_the_current_context_is_used(tmp_path: Path) -> None:
    found = load(written(tmp_path / "k", config("https://[2001:db8::1]/k8s/clusters/c-1/")))
    assert (found.endpoint.host, found.endpoint.port, found.path) == ("2001:db8::1", 443, "/k8s/clusters/c-1")
    assert (found.token(), found.who) == ("agent", f"the user u of {tmp_path}/k")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a: b: c", "is not YAML in line 1"),
        ("a: !!python/object/apply:os.system [id]", "is not YAML"),
        ("[" * 300, "is not YAML"),
        ("5", "is 5, it must be an object"),
        ("", "current-context is missing"),
        ({**config(), "current-context": ""}, "current-context is missing"),
        ({**config(), "current-context": "x"}, 'contexts has none called "x"'),
        ({**config(), "contexts": 5}, "contexts is 5"),
        ({**config(), "clusters": []}, 'clusters has none called "k"'),
        (config(""), "server is missing"),
        (config("192.0.2.1:6443"), "it must be a URL"),
        (config("ftp://192.0.2.1"), "it must be a URL"),
        (config("https://user:s3cr3t@192.0.2.1"), "has a user or a password in it"),
        (config("https://192.0.2.1:x"), "it must be a URL"),
        (config("https://192.0.2.1/a b"), "it must be a URL"),
        (config(cluster={"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify is not supported"),
        (config(cluster={"proxy-url": "http://p"}), "proxy-url is not supported"),
        (config(cluster={"certificate-authority-data": "*"}), "certificate-authority-data is not base64"),
        (config(user={"exec": {"command": "id"}}), "exec is not supported"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider is not supported"),
        (config(user={"username": "u", "password": "p"}), "username is not supported"),
        (config(user={"token": "t", "as": "admin"}), "as is not supported"),
        (config(user={"client-certificate": "c"}), "belong together"),
        (config(user={"token": "a\nb: c"}), "has no token"),
        (config(user={"token": "\u00e9"}), "has no token"),
        (config(user={"token": 5}), "token is 5"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(tmp_path: Path, content: Config | str, why: str) -> None:
    path = written(tmp_path / "k", content)
    with pytest.raises((InvalidConfig, IoFailed), match=why) as caught:
        load(path)
    assert path in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert warnings(ClusterSettings("kubernetes", kubeconfig=path)) == []
    with pytest.raises(DirectoryUnreachable, match="cannot be asked"):
        directory(path).snapshot()


def test_what_is_switched_off_is_not_refused(tmp_path: Path) -> None:
    load(written(tmp_path / "k", config(cluster={"insecure-skip-tls-verify": False, "proxy-url": ""})))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620])
def test_a_kubeconfig_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "k", config())
    os.chmod(path, mode)
    with pytest.raises(InvalidConfig, match="can be read or changed by others") as caught:
        load(path)
    assert caught.value.hint == f"run: chmod 0600 {path}"


@pytest.mark.parametrize("missing", ["k", "token"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    path = written(tmp_path / "k", config("http://127.0.0.1:1", user={"tokenFile": "token"}))
    if missing == "k":
        os.unlink(path)
    with pytest.raises(DirectoryUnreachable, match=f"{missing} cannot be read: No such file"):
        directory(path).snapshot()


def test_http_over_a_network_has_a_warning(tmp_path: Path) -> None:
    settings = ClusterSettings("kubernetes", kubeconfig=written(tmp_path / "k", config("http://192.0.2.1:8080")))
    [sentence] = warnings(settings)
    assert "http://192.0.2.1:8080 is not encrypted" in sentence
    open_directory(settings).close()


# tokens --------------------------------------------------------------------------------


def test_a_token_is_read_again_for_each_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with ApiServer() as api:
        api.do(lambda model: model.add("a", *map(str, A.addresses)))
        api.tokens = {"first": AGENT}
        there = directory(written(tmp_path / "k", config(api.url, user={"tokenFile": "token"})))
        there.announce(A)
        watch = iter(there.watch(there.snapshot().revision))
        api.do(lambda model: model.ready("a", "Unknown"))
        assert next(watch)[1]
        api.tokens = {"second": AGENT}
        with pytest.raises(DirectoryUnreachable, match="Unauthorized"):
            there.snapshot()
        token.write_text("second")
        assert there.snapshot().hosts == {"a": A}
        # A watch that has begun goes on; one that is opened again has the new token.
        api.cut_watches()
        api.do(lambda model: model.ready("a", "True"))
        assert next(watch)[1]
        assert {each.token for each in api.asked("watch nodes")} == {"first", "second"}
        there.close()


def test_a_token_that_is_replaced_just_now_costs_no_failure(tmp_path: Path) -> None:
    """The kubelet replaces the file between reading and answer."""
    token = tmp_path / "token"
    token.write_text("first")
    with ApiServer() as api:
        api.tokens = {"second": AGENT}

        def replace(_request: Request) -> None:
            token.write_text("second")

        api.fault = replace
        there = directory(written(tmp_path / "k", config(api.url, user={"tokenFile": str(token)})))
        there.snapshot()
        assert [each.token for each in api.requests] == ["first", "second"]
        there.close()


@pytest.mark.parametrize("content", [b"", b"a b", b"a\nb", b"\xff", b"x" * (2 << 20)])
def test_a_file_that_has_no_token_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    there = directory(written(tmp_path / "k", config("http://127.0.0.1:1", user={"tokenFile": "token"})))
    with pytest.raises(DirectoryUnreachable, match=f"{tmp_path}/token"):
        there.snapshot()


def test_a_kubeconfig_that_changes_is_read_again(tmp_path: Path) -> None:
    with ApiServer() as old, ApiServer() as new:
        new.do(lambda model: model.add("a", "192.0.2.1"))
        path = written(tmp_path / "k", config(old.url))
        there = directory(path)
        assert there.snapshot().alive == frozenset()
        os.replace(written(tmp_path / "k2", config(new.url)), path)
        assert there.snapshot().alive == {"a"}
        there.close()


# the pod's service account -------------------------------------------------------------


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("agent")
    monkeypatch.setattr(credentials_module, "SERVICE_ACCOUNT", str(folder))
    return folder


def secure(authority: Authority, address: str = "IP:127.0.0.1") -> ApiServer:
    cert, key = authority.issue("server", address)
    return ApiServer(tls=(str(authority.file), str(cert), str(key)))


def test_a_pod_asks_as_its_service_account(account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca")
    with secure(authority) as api:
        (account / "ca.crt").write_bytes(authority.file.read_bytes())
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        api.do(lambda model: model.add("a", *map(str, A.addresses)))
        there = KubernetesDirectory(ClusterSettings("kubernetes"), 5)
        assert there.name == f"the Kubernetes API at {api.url}"
        there.announce(A)
        assert there.snapshot().hosts == {"a": A}
        (account / "token").write_text("nobody")
        with pytest.raises(DirectoryUnreachable, match="Unauthorized") as caught:
            there.snapshot()
        assert "the service account of this pod" in caught.value.hint
        there.close()


def test_a_process_outside_of_a_pod_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings = ClusterSettings("kubernetes")
    with pytest.raises(DirectoryUnreachable, match="this process is in no pod of Kubernetes") as caught:
        KubernetesDirectory(settings, 1).snapshot()
    assert "set kubeconfig" in caught.value.hint
    assert warnings(settings) == []


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"KUBERNETES_SERVICE_HOST": "2001:db8::1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://[2001:db8::1]:6443"),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, "https://10.96.0.1:443"),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "x"}, "an unknown address"),
    ],
)
def test_the_address_is_that_of_the_pods_variables(environ: dict[str, str], name: str) -> None:
    assert Credentials(ClusterSettings("kubernetes"), environ).name == f"the Kubernetes API at {name}"


# certificates --------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["as data", "as files"])
def test_both_sides_are_verified(tmp_path: Path, kept: str) -> None:
    authority = Authority(tmp_path / "ca")
    client_cert, client_key = authority.issue("node")

    def given(key: str, path: Path) -> Config:
        if kept == "as files":
            return {key: os.path.relpath(path, tmp_path)}
        return {f"{key}-data": base64.b64encode(path.read_bytes()).decode()}

    with secure(authority) as api:
        user = {"token": "agent", **given("client-certificate", client_cert), **given("client-key", client_key)}
        cluster = given("certificate-authority", authority.file)
        there = directory(written(tmp_path / "k", config(api.url, cluster, user)))
        there.snapshot()
        there.close()
        unknown = directory(written(tmp_path / "k2", config(api.url, {}, user)))
        with pytest.raises(DirectoryUnreachable, match="its certificate is not accepted: "):
            unknown.snapshot()
    other = tmp_path / "other"
    other.mkdir()
    with secure(Authority(other / "ca"), "IP:192.0.2.1") as api:
        wrong = directory(written(tmp_path / "k3", config(api.url, cluster, user)))
        with pytest.raises(DirectoryUnreachable, match="its certificate is not accepted"):
            wrong.snapshot()


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with secure(authority, "IP:192.0.2.1") as api:
        cluster = {"certificate-authority": str(authority.file)}
        there = directory(written(tmp_path / "k", config(api.url, cluster)))
        with pytest.raises(DirectoryUnreachable, match="IP address mismatch"):
            there.snapshot()
        assert api.requests == []


def test_no_secret_is_on_a_disk_or_in_a_message(tmp_path: Path) -> None:
    """Data of a kubeconfig is kept in memory, though the ssl module reads files only."""
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("node")
    data = {
        "client-certificate-data": base64.b64encode(cert.read_bytes()).decode(),
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
    }
    before = set(tmp_path.rglob("*"))
    access = load(written(tmp_path / "k", config(user={**data, "token": "s3cr3t"})))
    access.tls.context()
    assert set(tmp_path.rglob("*")) == before | {tmp_path / "k"}
    assert "s3cr3t" not in f"{access.who} {access.endpoint}"


def test_messages_do_not_show_tokens(tmp_path: Path) -> None:
    with ApiServer() as api:
        api.tokens = {}
        there = directory(written(tmp_path / "k", config(api.url, user={"token": "s3cr3t"})))
        calls: list[Callable[[], object]] = [there.snapshot, lambda: there.announce(A), lambda: there.leave("a")]
        for call in calls:
            with pytest.raises(CnmError) as caught:
                call()
            assert "s3cr3t" not in str(caught.value)
        with pytest.raises(WatchEnded):
            next(iter(there.watch(0)))
        there.close()


def test_data_that_is_used_no_more_keeps_no_descriptor(tmp_path: Path) -> None:
    """A wrong file is read at each request, a right one at each change."""
    data = base64.b64encode(b"x").decode()
    path = tmp_path / "k"
    written(path, config(cluster={"certificate-authority-data": data}, user={"client-certificate-data": data}))
    there = Credentials(ClusterSettings("kubernetes", kubeconfig=str(path)), {})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(InvalidConfig, match="client-key"):
            there.access()
    assert len(os.listdir("/proc/self/fd")) == before
    for number in range(5):
        user = {"client-certificate-data": data, "client-key-data": data}
        new = config(f"https://192.0.2.{number}", cluster={"certificate-authority-data": data}, user=user)
        os.replace(written(tmp_path / "new", new), path)
        assert there.access().endpoint.host == f"192.0.2.{number}"
    assert len(os.listdir("/proc/self/fd")) == before + 3


def test_a_kubeconfig_in_json_is_one(tmp_path: Path) -> None:
    assert load(written(tmp_path / "k", json.dumps(config()))).endpoint.port == 6443
