"""What each verb that lists prints in a pipe: with nothing, with a few containers, with 500."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_cnm import cli
from cni_cnm.cnm.packet_filter.allow_networks import allow
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import PortTaken
from cni_cnm.model import IpamSpec, PortMapping
from tests.unit.cli import terminals
from tests.unit.cli.hosts import CommandLine
from tests.unit.find.pods import NETWORK

HEADERS = {
    "network ls": "NETWORK ID  NAME  DRIVER  SUBNETS",
    "endpoint ls": "ENDPOINT ID  NETWORK  CONTAINER  IFNAME  ADDRESSES  PUBLISHED  OWNER  STATE",
    "sandbox ls": "SANDBOX ID  CONTAINER  NAMESPACE  ENDPOINTS  GATEWAY  STATE",
    "port ls": "PORT  PROTO  ADDRESS  TARGET  TARGET PORT  NETWORK  CONTAINER  STATE",
    "ipam ls": "NETWORK  SUBNET  GATEWAY  SIZE  USED  RESERVED  FREE  FULL",
}
SECOND = NETWORK._replace(
    name="second", ipam=IpamSpec("host-local", {"ranges": [[{"subnet": "10.2.0.0/29"}]]}), labels={"app": "shop"}
)
FEW = {
    "network ls": """\
NETWORK ID    NAME    DRIVER  SUBNETS
3aa0627f1611  podnet  bridge  10.1.0.0/24, fd01::/64
16367aacb67a  second  bridge  10.2.0.0/29
""",
    "endpoint ls": """\
ENDPOINT ID   NETWORK  CONTAINER  IFNAME  ADDRESSES                PUBLISHED                       OWNER     STATE
40efaee45e42  podnet   c2         eth0    10.1.0.3/24, fd01::3/64  192.0.2.1:5300-5302->53-55/udp  cni/test  ready
abff7fa7da31  podnet   shop/web   eth0    10.1.0.2/24, fd01::2/64  8080->80/tcp                    cni/test  ready
c6614faac14e  second   shop/web   net1    10.2.0.2/29              -                               cni/test  ready
""",
    "sandbox ls": """\
SANDBOX ID    CONTAINER  NAMESPACE      ENDPOINTS                                                    GATEWAY  STATE
46870d6542f2  c2         /run/netns/c2  podnet/eth0 10.1.0.3/24 fd01::3/64                           podnet   ready
9f15ec11227b  shop/web   /run/netns/c1  podnet/eth0 10.1.0.2/24 fd01::2/64, second/net1 10.2.0.2/29  podnet   ready
""",
    "port ls": """\
PORT       PROTO  ADDRESS    TARGET             TARGET PORT  NETWORK  CONTAINER  STATE
5300-5302  udp    192.0.2.1  10.1.0.3           53-55        podnet   c2         published
8080       tcp    *          10.1.0.2, fd01::2  80           podnet   shop/web   published
""",
    "port ls --filter port=5301/udp -q": "40efaee45e42\n",
    "port ls --filter port=5303": "PORT  PROTO  ADDRESS  TARGET  TARGET PORT  NETWORK  CONTAINER  STATE\n",
    "ipam ls": """\
NETWORK  SUBNET       GATEWAY   SIZE   USED  RESERVED  FREE   FULL
podnet   10.1.0.0/24  10.1.0.1  254    2     1         251    1 %
podnet   fd01::/64    fd01::1   ~2^64  2     1         ~2^64  0 %
second   10.2.0.0/29  10.2.0.1  6      1     1         4      33 %
""",
    "ipam show second": """\
second: ipam host-local, leases in /FOLDER/leases/second

SUBNET       RANGE              GATEWAY   SIZE  USED  RESERVED  FREE  FULL
10.2.0.0/29  10.2.0.1-10.2.0.6  10.2.0.1  6     1     1         4     33 %

10.2.0.0/29  [R#....]
held: # all, + half or more, : some, . none; R reserved

ADDRESS   HOLDER    CONTAINER  IFNAME  ENDPOINT ID
10.2.0.1  gateway   -          -       -
10.2.0.2  endpoint  shop/web   net1    c6614faac14e
""",
    "ipam show podnet --filter address=10.1.0.3": """\
ADDRESS   HOLDER    CONTAINER  IFNAME  ENDPOINT ID
10.1.0.3  endpoint  c2         eth0    40efaee45e42
""",
    "ipam show podnet -q": "10.1.0.1\n10.1.0.2\n10.1.0.3\nfd01::1\nfd01::2\nfd01::3\n",
    "endpoint ls --filter pod=shop/web --format {{.Network}}": "podnet\nsecond\n",
    "endpoint ls --filter address=fd01::3 -q": "40efaee45e42\n",
    "endpoint ls --filter address=FD01:0:0::3 -q": "40efaee45e42\n",
    "port ls --filter target=fd01:0::2 -q": "abff7fa7da31\n",
    "endpoint ls --network second -q": "c6614faac14e\n",
    "network ls --filter label=app=shop -q": "16367aacb67a\n",
}


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capfd)


@pytest.fixture
def few(line: CommandLine) -> CommandLine:
    line.pods.add("c1", "shop/web", ports=(PortMapping("tcp", 8080, 80),))
    line.pods.add("c2", ports=(PortMapping("udp", 5300, 53, ip_address("192.0.2.1"), 3),))
    line.pods.add("c1", "shop/web", ifname="net1", network=SECOND)
    return line


@pytest.mark.parametrize(("command", "header"), HEADERS.items())
def test_nothing(line: CommandLine, command: str, header: str) -> None:
    assert line.out(command) == f"{header}\n"
    assert line.out(f"{command} --json") == "[]\n"
    assert line.out(f"{command} -q") == ""


def test_a_few(few: CommandLine) -> None:
    assert {command: few.out(command) for command in FEW} == FEW


def test_500(line: CommandLine) -> None:
    """A line for each, in the order of what it is known by."""
    wide = NETWORK._replace(ipam=IpamSpec("host-local", {"ranges": [[{"subnet": "10.1.0.0/16"}]]}))
    for number in range(500):
        line.pods.add(f"c{number}", f"ns/pod-{number}", network=wide, ports=(PortMapping("tcp", 1000 + number, 80),))
    assert [len(line.out(command).splitlines()) for command in HEADERS] == [2, 501, 501, 501, 2]
    rows = line.out("ipam show podnet --format {{.Address}}={{.Container}}").splitlines()
    assert (len(rows), rows[0], rows[-1]) == (501, "10.1.0.1=", "10.1.1.245=ns/pod-499")
    assert line.out("port ls --format {{.Port}}").splitlines() == [str(1000 + number) for number in range(500)]
    assert json.loads(line.out("ipam ls --json"))[0]["used"] == 500


def test_inspect(few: CommandLine) -> None:
    """Several names, each once, as one array; Docker's keys and this program's."""
    (podnet, second) = json.loads(few.out("network inspect podnet second podnet"))
    assert [one["Name"] for one in (podnet, second)] == ["podnet", "second"] == [podnet["name"], second["name"]]
    assert podnet["IPAM"]["Config"] == [
        {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"},
        {"Subnet": "fd01::/64", "Gateway": "fd01::1"},
    ]
    assert (podnet["EnableIPv6"], second["EnableIPv6"], second["Labels"]) == (True, False, {"app": "shop"})
    assert podnet["Containers"]["c1"] == {
        "Name": "shop/web",
        "EndpointID": "abff7fa7da31d56a0ebcb22096894c8d8a249e253f8400d392c0ba93731919c7",
        "MacAddress": podnet["Containers"]["c1"]["MacAddress"],
        "IPv4Address": "10.1.0.2/24",
        "IPv6Address": "fd01::2/64",
    }
    assert podnet["Containers"]["c1"]["MacAddress"].count(":") == 5
    assert list(second["Containers"]) == ["c1"]
    few.pods.add("c1", "shop/web", ifname="net2", network=SECOND)
    (twice,) = json.loads(few.out("network inspect second"))
    assert min(twice["Containers"]) == "c1"
    assert max(twice["Containers"]) in ("c1/net1", "c1/net2")
    assert second["Options"]["masquerade"] == "true"
    assert [one["pod"] for one in second["endpoints"].values()] == ["shop/web"]
    (one,) = json.loads(few.out("endpoint inspect 8080"))
    assert (one["IPAddress"], one["EndpointID"], one["container_id"]) == ("10.1.0.2", one["id"], "c1")
    assert [len(json.loads(few.out(f"endpoint inspect {name}"))) for name in ("shop/web", "c2 c1")] == [3, 4]


def test_allowed_networks_are_shown(few: CommandLine) -> None:
    pair = [load_network(few.pods.host.store, name) for name in ("podnet", "second")]
    assert pair[0] is not None
    assert pair[1] is not None
    assert json.loads(few.out("network inspect podnet"))[0]["allowed"] == []
    allow(few.pods.host, pair[0], pair[1])
    assert [one["allowed"] for one in json.loads(few.out("network inspect podnet second"))] == [["second"], ["podnet"]]
    assert few.out("network ls --filter allowed=podnet --format {{.Name}}:{{.Allowed}}") == "second:podnet\n"


def test_inspect_of_a_sandbox(few: CommandLine) -> None:
    """The keys of NetworkSettings, as `docker inspect` has them."""
    (shown,) = json.loads(few.out("sandbox inspect 10.2.0.2"))
    assert (shown["SandboxKey"], shown["ContainerID"], shown["Name"]) == ("/run/netns/c1", "c1", "shop/web")
    assert shown["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    }
    assert list(shown["Networks"]) == ["podnet", "second"]
    podnet = shown["Networks"]["podnet"]
    assert (podnet["IPAddress"], podnet["IPPrefixLen"], podnet["Gateway"]) == ("10.1.0.2", 24, "10.1.0.1")
    assert (podnet["GlobalIPv6Address"], podnet["IPv6Gateway"]) == ("fd01::2", "fd01::1")
    assert json.loads(few.out("sandbox inspect c2"))[0]["Ports"]["55/udp"] == [
        {"HostIp": "192.0.2.1", "HostPort": "5302"}
    ]


@pytest.mark.parametrize("noun", ["network", "endpoint", "sandbox"])
def test_of_several_names_one_is_wrong(few: CommandLine, noun: str) -> None:
    """Its sentence, what the others are, and 1."""
    good = "podnet" if noun == "network" else "c2"
    code, out, err = few.run(noun, "inspect", "nope", good)
    assert (code, len(json.loads(out))) == (1, 1)
    assert err == f"cni-cnm: there is no {noun} 'nope' (`cni-cnm {noun} ls` lists them)\n"
    assert few.run(noun, "inspect", "nope")[:2] == (1, "")


def test_a_misspelled_network(few: CommandLine) -> None:
    assert few.run("network", "inspect", "podnt")[2] == "cni-cnm: there is no network 'podnt' (did you mean podnet?)\n"


def test_removing_by_a_name(few: CommandLine) -> None:
    """By the pod all endpoints of the container, by an address that one; never of several containers."""
    few.pods.add("c3", "other/web")
    code, out, err = few.run("endpoint", "rm", "web")
    assert (code, out) == (1, "")
    assert "'web' is the name of 3 endpoints: " in err
    assert few.out("endpoint rm 10.2.0.2") == "second/c1/net1 (shop/web)\n"
    assert few.out("endpoint rm 8080") == "podnet/c1/eth0 (shop/web)\n"
    assert few.out("endpoint ls --format {{.Container}}").split() == ["c2", "other/web"]


def test_messages_name_the_pod(few: CommandLine) -> None:
    """What stops a removal, and who has a port."""
    code, _, err = few.run("network", "rm", "second")
    assert (code, "has 1 endpoint: second/c1/net1 (shop/web)" in err) == (1, True)
    with pytest.raises(PortTaken, match=r"8080/tcp is already published by podnet/c1/eth0 \(shop/web\) \("):
        few.pods.add("c9", ports=(PortMapping("tcp", 8080, 80),))


NARROW = {
    "endpoint ls": """\
ENDPOINT ID   NETWORK  CONTAINER  ADDRESSES     PUBLISHED                  STATE
40efaee45e42  podnet   c2         10.1.0.3/24,  192.0.2.1:5300-5302->53-   ready
                                  fd01::3/64    55/udp
abff7fa7da31  podnet   shop/web   10.1.0.2/24,  8080->80/tcp               ready
                                  fd01::2/64
c6614faac14e  second   shop/web   10.2.0.2/29   -                          ready
""",
    "sandbox ls": """\
SANDBOX ID    CONTAINER  NAMESPACE      ENDPOINTS                 GATEWAY  STATE
46870d6542f2  c2         /run/netns/c2  podnet/eth0 10.1.0.3/24   podnet   ready
                                        fd01::3/64
9f15ec11227b  shop/web   /run/netns/c1  podnet/eth0 10.1.0.2/24   podnet   ready
                                        fd01::2/64, second/net1
                                        10.2.0.2/29
""",
    "port ls": """\
                                        TARGET
PORT       PROTO  ADDRESS    TARGET     PORT       NETWORK  CONTAINER  STATE
5300-5302  udp    192.0.2.1  10.1.0.3   53-55      podnet   c2         published
8080       tcp    *          10.1.0.2,  80         podnet   shop/web   published
                             fd01::2
""",
    "ipam ls": FEW["ipam ls"],
    "network ls": FEW["network ls"],
}


@pytest.mark.parametrize("command", NARROW)
def test_80_columns(few: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Folded between words; what is seldom needed is left out if there is no room."""
    lines = on_terminal(few, monkeypatch, 80, command)
    assert lines == NARROW[command].splitlines()


@pytest.mark.parametrize("command", HEADERS)
def test_200_columns(few: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The same lines as in a pipe."""
    assert on_terminal(few, monkeypatch, 200, command) == FEW[command].splitlines()


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("command", HEADERS)
def test_nothing_on_a_terminal(line: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str, width: int) -> None:
    """The header alone, on one line."""
    (header,) = on_terminal(line, monkeypatch, width, command)
    assert header == HEADERS[command]


def on_terminal(line: CommandLine, monkeypatch: pytest.MonkeyPatch, width: int, command: str) -> list[str]:
    """The lines, without colours and blanks at the end."""
    shown = terminals.shown(monkeypatch, width, lambda: cli.run_command(["cni-cnm", *command.split()]))
    lines = [one.rstrip() for one in terminals.without_colours(shown).splitlines()]
    assert all(len(one) <= width for one in lines)
    return lines


@pytest.mark.parametrize("command", ["endpoint ls", "sandbox ls", "port ls", "ipam show podnet -f holder=endpoint"])
def test_ids_of_containers_are_short_and_names_are_whole(line: CommandLine, command: str) -> None:
    """Whole ids with --no-trunc."""
    name = "a-namespace-of-a-team/a-pod-with-a-long-name"
    for position, (container, pod) in enumerate((("a" * 64, ""), ("b" * 64, name))):
        line.pods.add(container, pod, ports=(PortMapping("tcp", 8080 + position, 80),))
    form = ("--format", "{{.Container}}")
    assert set(line.run(*command.split(), *form)[1].split()) == {"a" * 12, name}
    assert set(line.run(*command.split(), *form, "--no-trunc")[1].split()) == {"a" * 64, name}
