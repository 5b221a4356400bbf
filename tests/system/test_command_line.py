"""The command line, mistyped: one sentence that names what was typed, and nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
        ("network create --driver overlay n", "'overlay' is neither a built-in driver"),
        ("network create --driver chained n", "a network of the driver chained cannot be made"),
        ("network create -o team n", "--opt 'team' is not KEY=VALUE"),
        ("network create podnet", "there is a network podnet already"),
        ("network inspect nope", "there is no network 'nope' (`cni-cnm network ls` lists them)"),
        ("network rm podnet", "the network podnet has 1 endpoints: podnet/c1/eth0"),
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


def test_endpoints_of_a_network_without_any(side: Side) -> None:
    """A network that exists is listed, empty."""
    side.node.run(str(side.executable), "network", "create", "empty").ok()
    listed = side.node.run(str(side.executable), "endpoint", "ls", "--network", "empty").ok().out
    assert listed.splitlines() == ["ENDPOINT ID  NETWORK  CONTAINER  IFNAME  ADDRESSES  OWNER  STATE"]
    side.node.run(str(side.executable), "network", "rm", "empty").ok()


def test_a_list_is_no_configuration_of_a_plugin(side: Side) -> None:
    """A conflist sent by hand would be a network of defaults: it is refused, with what to send instead."""
    answer = side.call("ADD", '{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "cni-cnm"}]}', ifname="eth1")
    assert (answer.code, answer.json["code"]) == (1, 7)
    assert answer.json["msg"].startswith("the configuration is a list of plugins")
