"""The name service of a network, asked with dig in containers of it."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import built
from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not (shutil.which("dnsmasq") and shutil.which("dig")), reason="dnsmasq-base or bind9-dnsutils is not installed"
)

NET: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "dnsEnabled": True, "capabilities": {"aliases": True, "portMappings": True},
    "ipam": {"ranges": [[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd61::/64"}]]},
}  # fmt: skip
OTHER: dict[str, Any] = {**NET, "name": "other", "ipam": {"subnet": "10.62.0.0/24"}}
CLOSED: dict[str, Any] = {**NET, "name": "closed", "internal": True, "ipam": {"subnet": "10.63.0.0/24"}}
GATEWAY = {"net": "10.61.0.1", "other": "10.62.0.1", "closed": "10.63.0.1"}
SOCKET = "/run/cni-cnm/service.sock"
UPSTREAM = (
    "dnsmasq", "--no-hosts", "--no-resolv", "--conf-file=/dev/null", "--pid-file", "--bind-interfaces",
    "--keep-in-foreground",
)  # fmt: skip


REMOVED = "mv /run/cni-cnm-names /run/removed && rm -r /run/removed"
"""At once: the service makes folders again while others are removed."""


class Host:
    """A node with a service, and two DNS servers of others: of the host's resolv.conf, and one more."""

    def __init__(self) -> None:
        self.side = Side(built() / "cni-cnm", "cni-cnm", serve=False)
        self.node = self.side.node
        self.node.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.node.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo").ok()
        self.others = [
            Daemon(self.node, *UPSTREAM, f"--listen-address={address}", f"--address=/example.com/{answer}")
            for address, answer in (("127.0.0.1", "192.0.2.80"), ("198.51.100.1", "192.0.2.81"))
        ]
        self.serve()

    def close(self) -> None:
        self.side.close()
        for daemon in (self.service, *self.others):
            daemon.stop()

    def serve(self) -> None:
        self.service = Daemon(self.node, str(built() / "cni-cnm"), "serve", log="/run/serve.log")
        self.service.wait(self.node.path(SOCKET).exists)

    def add(self, container: str, conf: dict[str, Any], pod: str = "", **runtime: Any) -> Any:
        if container not in self.side.containers:
            self.side.container(container)
        name, _, namespace = pod.partition(".")
        args = f"IgnoreUnknown=1;K8S_POD_NAME={name};K8S_POD_NAMESPACE={namespace}" if pod else ""
        given = {**conf, "runtimeConfig": runtime} if runtime else conf
        answer = self.side.add(given, container, args=args, env={"CNI_CNM_OWNER": "test"}).ok()
        self.until_served(conf["name"])
        return answer

    def delete(self, container: str, conf: dict[str, Any]) -> None:
        self.side.delete(conf, container).ok()

    def until_served(self, network: str) -> None:
        until(lambda: self.server(network), f"a name server of {network}")

    def until_asked(self, answer: str) -> None:
        """Until other questions of c1 go to the server that answers this."""
        until(lambda: self.dig("c1", "example.com", wait_s=1) == ("NOERROR", [answer]), f"the answer {answer}")

    def server(self, network: str) -> int:
        """The pid of the network's server, as the node sees it, once it listens."""
        found = self.processes(network)
        bound = self.node.run("ss", "-Hlun", "sport", "=", ":53").out
        return int(found[0]) if found and f"{GATEWAY[network]}:53" in bound else 0

    def processes(self, network: str) -> list[str]:
        return self.node.run("pgrep", "-f", f"dnsmasq.*--hostsdir=/run/cni-cnm-names/{network}$").out.split()

    def dig(
        self, container: str, *question: str, at: str = "10.61.0.1", host: bool = False, wait_s: int = 10
    ) -> tuple[str, list[str]]:
        """The status and the data of the answers, sorted; "" and none without an answer."""
        command = ("dig", "+tries=1", f"+time={wait_s}", "+noall", "+answer", "+comments", f"@{at}", *question)
        lines = self.node.run(*command, netns="" if host else f"/run/netns/{container}").out.splitlines()
        status = [line.partition("status: ")[2].partition(",")[0] for line in lines if "status: " in line]
        return "".join(status), sorted(line.split()[-1] for line in lines if line and not line.startswith(";"))

    def command(self, *words: str) -> Any:
        return self.node.run(str(built() / "cni-cnm"), *words)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    made = Host()
    made.add("c1", NET, "web.shop-1", aliases=["www", "www.example.com"])
    made.add("c2", NET, "example.com", aliases=["www"])
    made.add("c3", OTHER)
    made.add("c4", CLOSED)
    yield made
    made.close()


def test_names_of_one_network(host: Host) -> None:
    """By container id, pod and alias, in any capitals, with and without the domain; both of two holders."""
    for name in ("c1", "web", "WEB", "web.shop-1", "web.net.internal", "web.shop-1.net.internal", "c1.net.internal"):
        assert host.dig("c2", name) == ("NOERROR", ["10.61.0.2"]), name
        assert host.dig("c2", name, "AAAA") == ("NOERROR", ["fd61::2"]), name
    assert host.dig("c2", "www") == ("NOERROR", ["10.61.0.2", "10.61.0.3"])
    assert host.dig("c2", "www", "AAAA", at="fd61::1") == ("NOERROR", ["fd61::2", "fd61::3"])
    assert host.dig("c2", "+tcp", "web") == ("NOERROR", ["10.61.0.2"])
    assert host.dig("c2", "-x", "10.61.0.2") == ("NOERROR", ["web.net.internal."])
    assert host.dig("c2", "-x", "fd61::3") == ("NOERROR", ["example.net.internal."])
    for name in ("absent", "absent.net.internal", "-x 10.61.0.77"):
        assert host.dig("c2", *name.split()) == ("NXDOMAIN", []), name
    assert host.dig("c4", "c4", "AAAA", at=GATEWAY["closed"]) == ("NOERROR", [])


def test_the_result_points_to_the_gateways(host: Host) -> None:
    added = host.add("c5", {**NET, "dns": {"search": ["example.org"], "options": ["rotate"]}})
    assert added.json["dns"] == {
        "nameservers": ["10.61.0.1", "fd61::1"], "domain": "net.internal", "search": ["net.internal", "example.org"],
        "options": ["rotate"],
    }  # fmt: skip
    host.delete("c5", NET)
    given = host.add("c5", NET, dns={"servers": ["192.0.2.53"]})
    assert given.json["dns"] == {"nameservers": ["192.0.2.53"]}
    host.delete("c5", NET)


def test_other_questions_go_upstream_and_public_names_are_others(host: Host) -> None:
    """A pod example.com and an alias www.example.com do not take the names of the Internet; an internal network asks
    no other server."""
    for name in ("example.com", "www.example.com"):
        assert host.dig("c1", name) == ("NOERROR", ["192.0.2.80"]), name
    assert host.dig("c1", "example.com.net.internal") == ("NOERROR", ["10.61.0.3"])
    assert host.dig("c1", "www.example.com.net.internal") == ("NOERROR", ["10.61.0.2"])
    assert host.dig("c4", "example.com", at=GATEWAY["closed"]) == ("NXDOMAIN", [])
    assert host.dig("c4", "c4", at=GATEWAY["closed"]) == ("NOERROR", ["10.63.0.2"])
    for kind in ("TXT", "SRV", "HTTPS"):  # the other server would refuse
        assert host.dig("c1", "absent", kind) == ("NXDOMAIN", []), kind
        assert host.dig("c1", "web", kind) == ("NOERROR", []), kind


def test_servers_of_the_host_are_followed_over_links(host: Host) -> None:
    """NetworkManager and systemd-resolved replace resolv.conf by a link to a file of theirs."""
    resolv_conf = "/etc/resolv.conf"
    for number, (address, answer) in enumerate({"198.51.100.1": "192.0.2.81", "127.0.0.1": "192.0.2.80"}.items()):
        host.node.write(f"/run/resolver{number}/resolv.conf", f"nameserver {address}\n")
        host.node.run("ln", "-sfn", f"/run/resolver{number}/resolv.conf", f"{resolv_conf}.new").ok()
        host.node.run("mv", "-T", f"{resolv_conf}.new", resolv_conf).ok()
        host.until_asked(answer)
    host.node.write("/run/resolver1/new", "nameserver 198.51.100.1\n")
    host.node.run("mv", "/run/resolver1/new", "/run/resolver1/resolv.conf").ok()
    host.until_asked("192.0.2.81")
    host.node.run("rm", resolv_conf).ok()
    host.node.write(resolv_conf, "nameserver 127.0.0.1\n")
    host.until_asked("192.0.2.80")


def test_changes_are_seen_by_the_next_question(host: Host) -> None:
    for _ in range(10):
        host.add("c6", NET, aliases=["brief"])
        status, addresses = host.dig("c1", "brief")
        assert status == "NOERROR"
        assert len(addresses) == 1
        host.delete("c6", NET)
        assert host.dig("c1", "brief") == ("NXDOMAIN", [])
    assert not [path for path in host.node.path("/run/cni-cnm-names/net").iterdir() if path.name.endswith(".tmp")]


def test_names_of_another_network_only_where_it_is_allowed(host: Host) -> None:
    assert host.dig("c1", "c3") == ("NXDOMAIN", [])
    host.command("network", "allow", "net", "other").ok()
    assert host.dig("c1", "c3") == ("NOERROR", ["10.62.0.2"])
    assert host.dig("c1", "c3.other.internal") == ("NOERROR", ["10.62.0.2"])
    assert host.dig("c3", "web", at=GATEWAY["other"]) == ("NOERROR", ["10.61.0.2"])
    host.add("c7", OTHER)
    assert host.dig("c1", "c7") == ("NOERROR", ["10.62.0.3"])
    host.delete("c7", OTHER)
    assert host.dig("c1", "c7") == ("NXDOMAIN", [])
    host.command("network", "revoke", "net", "other").ok()
    assert host.dig("c1", "c3") == ("NXDOMAIN", [])
    assert host.dig("c3", "web", at=GATEWAY["other"]) == ("NXDOMAIN", [])


def test_port_53_answers_on_the_bridge_alone(host: Host) -> None:
    """Not for another network, not for the host, and beside a pod that publishes port 53."""
    assert host.dig("c3", "web", at="10.61.0.1", wait_s=1) == ("", [])
    assert host.dig("", "web", at="10.61.0.1", host=True, wait_s=1) == ("", [])
    assert host.dig("c3", "c3", at=GATEWAY["other"]) == ("NOERROR", ["10.62.0.2"])
    ports = [{"hostPort": 53, "containerPort": 53, "protocol": protocol} for protocol in ("udp", "tcp")]
    host.add("c8", NET, portMappings=ports)
    own = ("--address=/#/192.0.2.99", "--listen-address=0.0.0.0")
    server = Daemon(host.node, "nsenter", "--net=/run/netns/c8", *UPSTREAM, *own)
    until(lambda: host.dig("c8", "x.example", at="127.0.0.1", wait_s=1)[1], "a pod's DNS server")
    try:
        assert host.dig("c1", "web") == ("NOERROR", ["10.61.0.2"])
        assert host.dig("c1", "+tcp", "web") == ("NOERROR", ["10.61.0.2"])
        assert host.dig("c1", "web", at="fd61::1") == ("NOERROR", ["10.61.0.2"])
        host.node.run("ip", "address", "add", "198.51.100.9/32", "dev", "lo").ok()
        assert host.dig("c1", "x.example", at="198.51.100.9") == ("NOERROR", ["192.0.2.99"])
    finally:
        server.stop()
        host.delete("c8", NET)


def test_the_server_is_unprivileged(host: Host) -> None:
    status = host.node.path(f"/proc/{host.server('net')}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] != "0"
    assert fields["Gid"].split()[0] != "0"
    assert not fields["Groups"].strip()
    for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(fields[kind], 16) == 1 << 10, kind
    assert fields["NoNewPrivs"] == "1"
    listing = host.node.run("stat", "-c", "%U %a", "/run/cni-cnm-names", "/run/cni-cnm-names/net").out.splitlines()
    assert listing == ["root 750", "root 750"]


def test_answers_go_on_while_the_service_restarts(host: Host) -> None:
    """Also if it is killed; another one takes over the same server, and starts one that was killed again."""
    before = host.server("net")
    for number in (signal.SIGTERM, signal.SIGKILL):
        host.service.stop(number)
        assert host.dig("c1", "web") == ("NOERROR", ["10.61.0.2"])
        host.add("c9", NET)  # by the full program
        assert host.dig("c1", "c9")[0] == "NOERROR"
        host.delete("c9", NET)
        assert host.dig("c1", "c9")[0] == "NXDOMAIN"
        until(lambda: not host.node.run("pgrep", "-f", "cni-cnm serve").out, "the service has ended")
        host.serve()
        until(lambda: int(host.node.run("pgrep", "-fc", "cni-cnm serve").out) >= 5, "its processes")
        assert host.server("net") == before
    connect = "import signal, socket; one = socket.create_connection(('10.61.0.1', 53)); signal.pause()"
    client = Daemon(host.node, "nsenter", "--net=/run/netns/c1", "python3", "-c", connect)
    until(lambda: len(host.processes("net")) == 2, "a process of the server for a TCP connection")
    try:
        host.node.run("kill", "-9", str(before)).ok()
        until(lambda: host.server("net") not in (0, before), "a new name server")
        until(lambda: host.dig("c1", "web", wait_s=1) == ("NOERROR", ["10.61.0.2"]), "its answers")
        assert len(host.processes("net")) == 1
    finally:
        client.stop()


def test_what_is_missing_is_said_and_put_back(host: Host) -> None:
    added = host.add("c10", NET)
    (path,) = host.node.run("sh", "-c", "grep -l ' c10$' /run/cni-cnm-names/net/*").ok().out.split()
    host.node.path(path).unlink()
    host.node.write("/run/cni-cnm-names/net/" + "0" * 64, "10.61.0.9 ghost\n")
    failed = host.side.check(NET, added.json, "c10")
    assert failed.code
    assert "c10" in failed.json["msg"]
    assert "names" in failed.json["msg"]
    assert "names of 2 endpoints are not as recorded" in host.command("doctor", "--check", "names").out
    host.command("repair").ok()
    host.side.check(NET, added.json, "c10").ok()
    assert host.dig("c1", "c10")[0] == "NOERROR"
    assert host.dig("c1", "ghost")[0] == "NXDOMAIN"
    host.delete("c10", NET)


def test_folders_of_names_that_were_removed_are_made_again(host: Host) -> None:
    """The server does not see new files then: another one takes its place, also if no service saw it."""
    host.node.run("sh", "-c", REMOVED).ok()
    until(lambda: host.dig("c1", "web", wait_s=1) == ("NOERROR", ["10.61.0.2"]), "the names again")
    host.service.stop()
    host.node.run("sh", "-c", REMOVED).ok()
    host.side.container("c18")
    host.side.add(NET, "c18").ok()  # it makes the folder
    host.serve()
    until(lambda: all(host.dig("c1", one, wait_s=1)[0] == "NOERROR" for one in ("c18", "web")), "all names")
    host.delete("c18", NET)


def test_a_server_that_is_stopped_is_said(host: Host) -> None:
    pid = str(host.server("net"))
    host.node.run("kill", "-STOP", pid).ok()
    try:
        said = f"names of the network net are not answered: its name server {pid} is stopped by a signal"
        assert said in host.side.call("STATUS", NET, container="", ifname="", netns="").ok().err
        found = host.command("doctor", "--check", "names").out
        assert said in found
        assert f"run: kill -CONT {pid}" in found
    finally:
        host.node.run("kill", "-CONT", pid).ok()
    assert "no findings" in host.command("doctor", "--check", "names").out


@pytest.mark.parametrize(
    ("subnet", "gateway", "family", "freebind"),
    [
        ("10.67.0.0/24", "10.67.0.1", "AF_INET", "IPPROTO_IP, 15"),
        ("fd67::/64", "fd67::1", "AF_INET6", "IPPROTO_IPV6, 78"),
    ],
)
def test_another_server_at_port_53_is_said(host: Host, subnet: str, gateway: str, family: str, freebind: str) -> None:
    """Ours ends then: what it has said is in all sentences, and doctor does not tell to start a service that runs."""
    taken = {**OTHER, "name": "taken", "ipam": {"subnet": subnet}}
    listen = f"one.setsockopt(socket.{freebind}, 1); one.bind(('{gateway}', 53)); one.listen(); signal.pause()"
    other = Daemon(host.node, "python3", "-c", f"import signal, socket; one = socket.socket(socket.{family}); {listen}")
    until(lambda: gateway in host.node.run("ss", "-Hltn", "sport", "=", ":53").out, "another server")
    container = f"at-{family}"
    host.side.container(container)
    host.side.add(taken, container).ok()
    try:
        said = "names of the network taken are not answered: its name server has ended: dnsmasq: "
        until(lambda: said in host.command("doctor", "--check", "names").out, "the reason", said=host.service.log)
        found = host.command("doctor", "--check", "names").out
        assert gateway in found
        assert "run: ss -Hlnptu 'sport = :53'" in found
        assert "cni-cnm serve" not in found

        def status() -> str:
            return host.side.call("STATUS", taken, container="", ifname="", netns="").ok().err

        for _ in range(20):  # also while it is started again, and again
            assert said in status()
        other.stop()
        until(lambda: not status(), "ours answers")
        assert not status()
    finally:
        other.stop()
        host.side.delete(taken, container).ok()
        host.command("network", "rm", "taken").ok()


def test_a_missing_program_is_said_by_everyone(host: Host) -> None:
    node, path = host.node, shutil.which("dnsmasq")
    assert path
    node.run("mount", "--bind", "/dev/null", path).ok()
    try:
        lone = {**OTHER, "name": "lone", "ipam": {"subnet": "10.64.0.0/24"}}
        host.side.container("c11")
        added = host.side.add(lone, "c11").ok()
        assert "names of the network lone are not answered: dnsmasq is not installed" in added.err
        asked = host.side.call("STATUS", lone, container="", ifname="", netns="").ok()
        assert "dnsmasq is not installed" in asked.err
        until(lambda: "dnsmasq is not installed" in host.service.log(), "a line of the service")
        found = host.command("doctor", "--check", "names")
        assert found.code == 3
        assert "dnsmasq-base" in found.out
        host.side.check(lone, added.json, "c11").ok()
        host.side.delete(lone, "c11").ok()
    finally:
        node.run("umount", path).ok()


def test_a_network_begins_and_ceases_to_answer_names(host: Host) -> None:
    """By an edit of its configuration, with endpoints that are there."""
    plain = {key: value for key, value in OTHER.items() if key != "dnsEnabled"} | {"name": "late"}
    plain["ipam"] = {"subnet": "10.65.0.0/24"}
    GATEWAY["late"] = "10.65.0.1"
    for name in ("c12", "c13", "c14"):
        host.side.container(name)
    host.side.add(plain, "c12").ok()
    assert not host.node.path("/run/cni-cnm-names/late").exists()
    host.add("c13", {**plain, "dnsEnabled": True})
    named = ("NOERROR", ["10.65.0.2"])
    until(lambda: host.dig("c13", "c12", at="10.65.0.1", wait_s=1) == named, "the older endpoint's name")
    pid = host.server("late")
    host.side.add(plain, "c14").ok()
    until(lambda: not host.node.path(f"/proc/{pid}").exists(), "the end of the name server")
    assert not host.node.path("/run/cni-cnm-names/late").exists()
    for name in ("c12", "c13", "c14"):
        host.delete(name, plain)


def test_names_are_listed(host: Host) -> None:
    rows = json.loads(host.command("network", "names", "net", "--json").ok().out)
    assert {(row["name"], tuple(row["addresses"])) for row in rows} >= {
        ("web.shop-1", ("10.61.0.2", "fd61::2")), ("www", ("10.61.0.3", "fd61::3")),
    }  # fmt: skip
    (shown,) = json.loads(host.command("network", "inspect", "net").ok().out)
    assert shown["names"] == {
        "domain": "net.internal", "servers": [], "server": host.server("net"), "obstacles": [],
    }  # fmt: skip


def test_own_servers_of_a_network_and_its_end(host: Host) -> None:
    named = {**OTHER, "name": "named", "dnsServers": ["198.51.100.1"], "ipam": {"subnet": "10.66.0.0/24"}}
    GATEWAY["named"] = "10.66.0.1"
    host.add("c15", named)
    assert host.dig("c15", "example.com", at="10.66.0.1") == ("NOERROR", ["192.0.2.81"])
    pid = host.server("named")
    host.delete("c15", named)
    host.command("network", "rm", "named").ok()
    until(lambda: not host.node.path(f"/proc/{pid}").exists(), "the end of the name server")
    elements = host.node.run("nft", "list", "set", "inet", "cni_cnm", "gateways4").out
    assert "10.66.0.1" not in elements
    assert "10.61.0.1" in elements


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"internal": True, "dnsServers": ["192.0.2.1"]}, "is internal and has name servers"),
        ({"driver": "macvlan"}, "the driver macvlan has no bridge"),
        ({"driver": "ptp"}, "has no bridge"),
        ({"ipam": {"type": "none"}}, "it has no addresses"),
        ({"bridge": "br9"}, "its bridge has no gateway address"),
        ({"dns": {"domain": "a b"}}, "dns.domain"),
        ({"dnsServers": ["a"]}, "dnsServers"),
        ({"dnsEnabled": False, "dnsServers": ["192.0.2.1"]}, "dnsEnabled is not true"),
        ({"allowOverlap": True}, "the network net answers names at 10.61.0.1 already"),
        ({"dnsServers": ["10.68.0.1"], "ipam": {"subnet": "10.68.0.0/24"}}, "is a gateway of the network refused"),
        ({"dnsServers": ["10.62.0.1"], "ipam": {"subnet": "10.68.0.0/24"}}, "is a gateway of the network other"),
    ],
)
def test_refused(host: Host, changes: dict[str, Any], said: str) -> None:
    if "c16" not in host.side.containers:
        host.side.container("c16")
    refused = host.side.add({**NET, "name": "refused", **changes}, "c16")
    assert refused.code
    assert said in refused.json["msg"]
