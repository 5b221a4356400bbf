"""The command line, mistyped: one sentence that names what was typed, and nothing is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cni_cnm import __version__
from tests.program import program
from tests.side import Side


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    made = Side(program(tmp_path_factory.mktemp("program")), "cni-cnm")
    made.container("c1")
    made.add({"cniVersion": "1.0.0", "name": "podnet"}).ok()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "network create --subnet 10.5.0.1/24 n",
            '--subnet is "10.5.0.1/24", it must be a network without host bits, such as 10.5.0.0/24',
        ),
        ("network create --subnet ten n", '--subnet is "ten", it must be a network in CIDR notation'),
        ("network create --gateway 10.5.0.1 n", "--gateway 10.5.0.1 needs the --subnet it is in"),
        (
            "network create --subnet 10.5.0.0/24 --gateway 10.6.0.1 n",
            "--gateway 10.6.0.1 is not in --subnet 10.5.0.0/24",
        ),
        ("network create --subnet 10.5.0.0/24 --gateway fd00::1 n", "--gateway fd00::1 is not in --subnet"),
        ("network create --subnet 10.5.0.0/24 --ipv6 n", "(give an IPv6 --subnet, too)"),
        ("network create --driver weave n", "'weave' is neither a built-in driver"),
        ("network create --driver overlay n", "the settings of this host have no part [cluster]"),
        ("network rm --cluster n", "the settings of this host have no part [cluster]"),
        ("node ls", "the settings of this host have no part [cluster]"),
        ("node inspect n", "the settings of this host have no part [cluster]"),
        ("node rm n", "the settings of this host have no part [cluster]"),
        ("network create --driver chained n", "a network of the driver chained cannot be made"),
        ("network create -o team n", "--opt 'team' is not KEY=VALUE"),
        ("network create podnet", "there is a network podnet already"),
        (
            "network create --subnet 10.5.0.0/24 --gateway 10.5.0.0 n",
            "--gateway is 10.5.0.0, which is the network address",
        ),
        ("network create --subnet 127.0.0.0/24 n", "--subnet is 127.0.0.0/24"),
        ("network create --driver host --subnet 10.5.0.0/24 n", "(leave out --subnet)"),
        ("network create --driver null -o a=b n", "the driver null has no options: a"),
        ("network inspect nope", "there is no network 'nope' (`cni-cnm network ls` lists them)"),
        ("network rm podnet", "the network podnet has 1 endpoint: podnet/c1/eth0"),
        ("network allow podnet podnet", "podnet is one network"),
        ("endpoint ls --network nope", "there is no network 'nope'"),
        ("endpoint inspect nope", "there is no endpoint 'nope'"),
        ("serve --socket /etc/passwd", "cannot listen on /etc/passwd: the path is taken by a file that is no socket"),
        ("serve --docker-socket /etc", "cannot listen on /etc: the path is taken by a file that is no socket"),
    ],
)
def test_refused(side: Side, words: str, sentence: str) -> None:
    """Exit status 1, the sentence on stderr, and no network or file that was not there before."""
    before = side.node.files("/var/lib/cni-cnm", "/run/cni-cnm/endpoints"), side.node.path("/etc/passwd").read_bytes()
    done = side.node.run(str(side.executable), *words.split())
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1
    after = side.node.files("/var/lib/cni-cnm", "/run/cni-cnm/endpoints"), side.node.path("/etc/passwd").read_bytes()
    assert after == before


@pytest.mark.parametrize("words", [("network", "rm"), ("network", "inspect"), ("endpoint", "inspect")])
def test_an_empty_name_is_nobodys(side: Side, words: tuple[str, str]) -> None:
    """A shell variable that was not set: not the only one there is."""
    done = side.node.run(str(side.executable), *words, "")
    assert (done.code, done.out) == (1, "")
    assert f"there is no {words[0]} ''" in done.err


def test_a_miss_does_not_stop_the_others(side: Side) -> None:
    """Of several names: one sentence for each that is wrong, the others are removed, exit status 1."""
    for name in ("one", "two"):
        side.node.run(str(side.executable), "network", "create", name).ok()
    done = side.node.run(str(side.executable), "network", "rm", "nope", "one", "nay", "two")
    assert (done.code, done.out) == (1, "one\ntwo\n")
    assert [line.partition(" (")[0] for line in done.err.splitlines()] == [
        "cni-cnm: there is no network 'nope'", "cni-cnm: there is no network 'nay'",
    ]  # fmt: skip
    side.container("c2")
    side.add({"cniVersion": "1.0.0", "name": "podnet"}, "c2").ok()
    done = side.node.run(str(side.executable), "endpoint", "rm", "nope", "c2")
    assert (done.code, done.out) == (1, "podnet/c2/eth0\n")


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("network ls --bogus", "usage: cni-cnm network ls "),
        ("network create", "usage: cni-cnm network create "),
        ("endpoint rm", "usage: cni-cnm endpoint rm "),
        ("network lss", "usage: cni-cnm network "),
        ("", "usage: cni-cnm "),
    ],
)
def test_usage_of_the_verb(side: Side, words: str, usage: str) -> None:
    """A command line that is not understood: the usage of the verb on stderr, exit status 2."""
    done = side.node.run(str(side.executable), *words.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(usage)


def test_version(side: Side) -> None:
    """`-v` is the short form."""
    shown = {side.node.run(str(side.executable), flag).ok().out for flag in ("-v", "--version")}
    assert shown == {f"cni-cnm {__version__}\n"}


def test_what_is_published(side: Side) -> None:
    """As Docker shows it: in the list of endpoints, and in the network's."""
    ports = [
        {"hostPort": 8080, "containerPort": 80},
        {"hostPort": 7000, "containerPort": 9000, "range": 3, "protocol": "udp", "hostIP": "127.0.0.1"},
    ]
    side.container("web")
    side.add({"cniVersion": "1.0.0", "name": "podnet", "runtimeConfig": {"portMappings": ports}}, "web").ok()
    shown = ["8080->80/tcp", "127.0.0.1:7000-7002->9000-9002/udp"]
    listed = side.node.run(str(side.executable), "endpoint", "ls").ok().out
    assert ", ".join(shown) in listed
    inspected = json.loads(side.node.run(str(side.executable), "network", "inspect", "podnet").ok().out)[0]
    assert shown in [endpoint["published"] for endpoint in inspected["endpoints"].values()]
    side.node.run(str(side.executable), "endpoint", "rm", "web").ok()


def test_endpoints_of_a_network_without_any(side: Side) -> None:
    """A network that exists is listed, empty."""
    side.node.run(str(side.executable), "network", "create", "empty").ok()
    listed = side.node.run(str(side.executable), "endpoint", "ls", "--network", "empty").ok().out
    assert listed.splitlines() == ["ENDPOINT ID  NETWORK  CONTAINER  IFNAME  ADDRESSES  PUBLISHED  OWNER  STATE"]
    side.node.run(str(side.executable), "network", "rm", "empty").ok()


def test_a_list_is_no_configuration_of_a_plugin(side: Side) -> None:
    """A conflist sent by hand would be a network of defaults: it is refused, with what to send instead."""
    answer = side.call("ADD", '{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "cni-cnm"}]}', ifname="eth1")
    assert (answer.code, answer.json["code"]) == (1, 7)
    assert answer.json["msg"].startswith("the configuration is a list of plugins")


@pytest.mark.parametrize("words", ["network create full", "network ls", "--help"])
@pytest.mark.parametrize("output", [">/dev/full", ">&-", "| true"])
def test_output_that_cannot_be_written(side: Side, words: str, output: str) -> None:
    """The command is carried out, and at most one sentence says that the rest of it was lost."""
    script = f"{{ {side.executable} {words}; echo $? >/run/code; }} {output}"
    done = side.node.run("sh", "-c", script)
    code = side.node.path("/run/code").read_text().strip()
    side.node.run(str(side.executable), "network", "rm", "full")
    if "full" in output:
        assert code == "1"
        assert done.err == (
            "cni-cnm: the command was carried out, but its output cannot be written: No space left on device\n"
        )
    else:
        assert code in ("0", "1")
        assert "Exception" not in done.err
        assert done.err.count("cni-cnm: ") <= 1
