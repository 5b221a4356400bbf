"""Settings: every key checked, by file and name."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from threading import Barrier

import pytest

from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import InvalidConfig, IoFailed
from cni_cnm.settings import AddressPool, Settings, in_force, load, put_in_force


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a file the defaults hold; a file that was named must exist."""
    monkeypatch.delenv("CNI_CNM_CONFIG", raising=False)
    monkeypatch.setattr("cni_cnm.settings.PATH", str(tmp_path / "config.toml"))
    assert load() == Settings()
    monkeypatch.setenv("CNI_CNM_CONFIG", str(tmp_path / "other.toml"))
    with pytest.raises(IoFailed, match=r"other\.toml cannot be read"):
        load()


def test_comments_are_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of comments, as packages install it: the defaults, and the parser is not loaded."""
    config = tmp_path / "config.toml"
    config.write_text("# port_wait = 7\n\n  # run_dir\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert load(str(config)) == Settings()


def test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's values replace the defaults: every key there is."""
    path = tmp_path / "config.toml"
    path.write_text(
        """
        run_dir = "/tmp/r"
        state_dir = "/tmp/s"
        leases_dir = "/tmp/l"
        log = "none"
        default_address_pools = [{base = "10.8.0.0/16", size = 24}]
        port_wait = 9
        linger = 0
        plugin_wait = 100
        hold_ports = "none"
        docker_api = "/tmp/docker.sock"
        log_format = "json"
        metrics = "[::1]:9477"
        [cluster]
        store = "etcd"
        endpoints = ["https://[2001:db8::1]:2379", "http://127.0.0.1:2379/"]
        prefix = "/nets"
        node = "node7"
        address = ["192.0.2.7", "2001:db8::7"]
        ca = "/etc/ca.pem"
        cert = "/etc/cert.pem"
        key = "/etc/key.pem"
        username = "node"
        password_file = "/etc/password"
        """
    )
    monkeypatch.setenv("CNI_CNM_CONFIG", str(path))
    expected = Settings(
        "/tmp/r", "/tmp/s", "/tmp/l", "none", (AddressPool(ip_network("10.8.0.0/16"), 24),), 9, 0, 100, "none",
        "/tmp/docker.sock",
        ClusterSettings(
            "etcd", ("https://[2001:db8::1]:2379", "http://127.0.0.1:2379/"), "/nets", "node7",
            ("192.0.2.7", "2001:db8::7"),
            "/etc/ca.pem", "/etc/cert.pem", "/etc/key.pem", "node", "/etc/password",
        ),
        "json", "[::1]:9477",
    )  # fmt: skip
    assert load() == load(str(path)) == expected
    assert expected.cluster is not None
    of_kubernetes = set(expected.cluster._fields[10:])
    assert {key for key in of_kubernetes if getattr(expected.cluster, key)} == {"network", "port", "direct"}
    same = [key for key, value in zip(Settings._fields, expected, strict=True) if value == getattr(Settings(), key)]
    assert same == [], "a key that this file does not set"


def test_settings_of_a_node_of_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[cluster]\nstore = "kubernetes"')
    assert load(str(path)).cluster == ClusterSettings("kubernetes")
    path.write_text(
        """
        [cluster]
        store = "kubernetes"
        kubeconfig = "/etc/kubeconfig"
        node = "node7"
        address = "eth1"
        network = "net"
        conflist = "/etc/cni/net.d/10-cni-cnm.conflist"
        subnets = ["fd00:10:244::/56", "10.244.0.0/16"]
        port = 4800
        direct = "never"
        """
    )
    assert load(str(path)).cluster == ClusterSettings(
        "kubernetes",
        node="node7",
        address=("eth1",),
        kubeconfig="/etc/kubeconfig",
        network="net",
        conflist="/etc/cni/net.d/10-cni-cnm.conflist",
        subnets=(ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56")),
        port=4800,
        direct="never",
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = ", "is not TOML"),
        ("port_wait = 31", "port_wait is 31, it must be between 0 and 30"),
        ('rundir = "/x"', "rundir is an unknown key"),
        ("run_dir = 5", "run_dir is 5, it must be a string"),
        ('run_dir = "x"', 'run_dir is "x", it must be an absolute path'),
        ('log = "stdout"', "'syslog', 'stderr' or 'none'"),
        ("plugin_wait = 0", "plugin_wait is 0, it must be between 1 and 100"),
        ('log_format = "xml"', "log_format is \"xml\", it must be 'text' or 'json'"),
        ('metrics = "localhost:9477"', "it must be 'socket', 'off', or an address and a port"),
        ('metrics = "127.0.0.1:70000"', "it must be 'socket', 'off', or an address and a port"),
        ('hold_ports = "all"', "hold_ports is \"all\", it must be 'docker' or 'none'"),
        ('docker_api = "on"', "an absolute path, 'auto' or 'off'"),
        ('run_dir = ""', "run_dir is missing"),
        ("default_address_pools = []", "must be a list of at least one"),
        ("default_address_pools = [5]", r"default_address_pools\[0\] is 5, it must be an object"),
        ('default_address_pools = [{base = "10.0.0.0/8"}]', r"default_address_pools\[0\].size is missing"),
        ('default_address_pools = [{base = "10.0.0.0/8", size = 24, x = 1}]', r"\[0\].x is an unknown key"),
        ("default_address_pools = [{base = 5, size = 24}]", "base is 5"),
        ('default_address_pools = [{base = "10.0.0.1/8", size = 24}]', "host bits"),
        ('default_address_pools = [{base = "10.0.0.0/8", size = 7}]', "between 8 and 30"),
        ("cluster = 5", "cluster is 5, it must be an object"),
        ("[cluster]", "cluster.store is missing"),
        ('[cluster]\nstore = "consul"', "cluster.store is \"consul\", it must be 'etcd'"),
        ('[cluster]\nstore = "kubernetes"\nca = "/ca"', "cluster.ca is of the store 'etcd', and the store is"),
        ('[cluster]\nstore = "etcd"\nnetwork = "n"', "cluster.network is of the store 'kubernetes', and the store"),
        ('[cluster]\nstore = "kubernetes"\nkubeconfig = "x"', "an absolute path"),
        ('[cluster]\nstore = "kubernetes"\nconflist = "x"', "an absolute path"),
        ('[cluster]\nstore = "kubernetes"\nnetwork = "a b"', "cluster.network is"),
        ('[cluster]\nstore = "kubernetes"\nport = 0', "between 1 and 65535"),
        ('[cluster]\nstore = "kubernetes"\ndirect = "on"', "'auto', 'always' or 'never'"),
        ('[cluster]\nstore = "kubernetes"\nsubnets = []', "a list of one or two networks"),
        ('[cluster]\nstore = "kubernetes"\nsubnets = ["10.0.0.1/8"]', "without host bits"),
        ('[cluster]\nstore = "kubernetes"\nsubnets = ["10.0.0.0/8", "11.0.0.0/8"]', "at most one of each IP version"),
        ('[cluster]\nstore = "etcd"', "cluster.endpoints is missing"),
        (
            '[cluster]\nstore = "etcd"\nendpoints = ["192.0.2.1:2379"]',
            r'cluster.endpoints\[0\] is "192.0.2.1:2379", it must be a URL',
        ),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1?a=b"]', "it must be a URL"),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1"]\nprefix = "x"', "begins with a slash"),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1"]\ncert = "/c"', "belong together: one is missing"),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1"]\nusername = "u"', "belong together: one is missing"),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1"]\nnode = "a b"', "cluster.node is"),
        ('[cluster]\nstore = "etcd"\nendpoints = ["http://h:1"]\nhost = "h"', "cluster.host is an unknown key"),
        ('default_address_pools = [{base = "fd00::/48", size = "64"}]', 'size is "64", it must be a whole number'),
    ],
)
def test_refused(tmp_path: Path, text: str, named: str) -> None:
    """A wrong value is refused with the file and the key."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=named) as caught:
        load(str(path))
    assert str(path) in caught.value.msg


@pytest.mark.parametrize("userinfo", ["root:canary4711", "canary4711"])
def test_a_password_in_an_endpoint(tmp_path: Path, userinfo: str) -> None:
    """It is refused, as endpoints are named in messages; the message does not repeat it."""
    path = tmp_path / "config.toml"
    path.write_text(f'[cluster]\nstore = "etcd"\nendpoints = ["http://h:1", "https://{userinfo}@h:2379"]')
    with pytest.raises(InvalidConfig, match=r"cluster\.endpoints has a user or a password in a URL") as caught:
        load(str(path))
    assert "canary" not in str(caught.value)
    assert "password_file" in caught.value.hint


def test_each_thread_has_those_of_its_own_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls with other settings at once: neither waits for a Docker plugin as long as the other's say."""
    monkeypatch.setattr("cni_cnm.settings._opened_last", Settings())
    both = Barrier(2, timeout=30)

    def call(plugin_wait: int) -> int:
        put_in_force(Settings(plugin_wait=plugin_wait))
        both.wait()
        return in_force().plugin_wait

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, (1, 2))) == [1, 2]


def test_a_thread_without_a_controller_has_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cni_cnm.settings._opened_last", Settings())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(put_in_force, Settings(plugin_wait=3)).result()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_force).result().plugin_wait == 3


WRONG_CLUSTERS = (
    '[cluster]\nstore = "kubernetes"\nmtu = 1400\n',
    '[cluster]\nstore = "kubernetes"\nport = "4799"\n',
    "[cluster]\n",
    "cluster = 5\n",
)


@pytest.mark.parametrize("cluster", WRONG_CLUSTERS)
def test_a_del_needs_no_cluster(tmp_path: Path, cluster: str) -> None:
    """It takes the folders from settings whose [cluster] is wrong. All else in the file is to be right."""
    config = tmp_path / "config.toml"
    folders = 'run_dir = "/tmp/r"\nstate_dir = "/tmp/s"\nleases_dir = "/tmp/l"\n'
    config.write_text(folders + cluster, encoding="utf-8")
    with pytest.raises(InvalidConfig, match="cluster"):
        load(str(config))
    assert load(str(config), cluster_needed=False) == Settings("/tmp/r", "/tmp/s", "/tmp/l", linger=0)
    for wrong in ('state_dir = "s"\n', 'state_dri = "/tmp/s"\n', "state_dir"):
        config.write_text(wrong + cluster, encoding="utf-8")
        with pytest.raises(InvalidConfig):
            load(str(config), cluster_needed=False)


def test_a_cluster_that_is_right_is_read_for_a_del(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[cluster]\nstore = "kubernetes"\n', encoding="utf-8")
    assert load(str(config), cluster_needed=False) == load(str(config))
