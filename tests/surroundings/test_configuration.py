"""Configurations as they are in the field: understood, and what is not used of them is said where it is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.side import Side
from tests.surroundings.configs import cnm, network

LOG = "/run/requests.log"


def logged(side: Side) -> None:
    """The node's calls are logged to a file."""
    side.node.write("/etc/cni-cnm/config.toml", f'log = "{LOG}"\n')


def only_line(side: Side) -> str:
    """Of the one call that was made."""
    [line] = side.log_lines(LOG, 1)
    return line


@pytest.fixture
def side(side: Side) -> Side:
    logged(side)
    side.container("c1")
    return side


# routes ---------------------------------------------------------------------


@pytest.mark.parametrize(("dst", "meant"), [("1100:200::1/24", "1100:200::/24"), ("10.9.8.7/16", "10.9.0.0/16")])
@pytest.mark.parametrize("kind", ["host-local", "static"])
@pytest.mark.quick("host-local-1100:200::1/24-1100:200::/24", "static-10.9.8.7/16-10.9.0.0/16")
def test_a_route_with_host_bits(side: Side, dst: str, meant: str, kind: str) -> None:
    """CRI-O shipped one for years: understood as the network it is in, with a warning that names both."""
    ipam: dict[str, Any] = {"type": kind, "routes": [{"dst": dst}]}
    if kind == "static":
        ipam["addresses"] = [{"address": "10.90.0.9/24", "gateway": "10.90.0.1"},
                             {"address": "fd00:90::9/64", "gateway": "fd00:90::1"}]  # fmt: skip
    else:
        ipam["ranges"] = [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]]
    answer = side.add(network(ipam=ipam)).ok()
    assert meant in [route["dst"] for route in answer.json["routes"]]
    family = "-6" if ":" in dst else "-4"
    assert meant in [route["dst"] for route in side.node.ip(family, "route", "show", netns="/run/netns/c1")]
    assert dst in only_line(side)
    assert meant in only_line(side)


def test_a_subnet_with_host_bits_is_refused(side: Side) -> None:
    """What a pool is cut from is no route: the reference refuses it, too."""
    refused = side.add(network("net", "10.90.0.7/24"))
    assert (refused.code, refused.json["code"]) == (1, 7)


# aliases --------------------------------------------------------------------

ALIASES: dict[str, tuple[Any, list[str]]] = {
    "convention": (["db", "primary"], ["db", "primary"]),
    "podman": ({"net": ["db", "primary"], "other": ["x"]}, ["db", "primary"]),
    "podman, of another network": ({"other": ["x"]}, []),
    "podman, none": ({"net": None}, []),
}


def test_aliases(side: Side) -> None:
    """A list, as in the convention, or podman's object by network."""
    import json

    for given, kept in ALIASES.values():
        config = network(capabilities={"aliases": True}, runtimeConfig={"aliases": given})
        side.add(config).ok()
        (record,) = side.node.path("/run/cni-cnm/endpoints").iterdir()
        assert json.loads(record.read_text()).get("aliases", []) == kept, given
        side.delete(config).ok()


def test_aliases_that_are_none(side: Side) -> None:
    """Refused in either shape, naming the key."""
    for given in ({"net": "db"}, {"net": ["a b"]}, ["a b"], "db", {"net": [7]}):
        refused = side.add(network(capabilities={"aliases": True}, runtimeConfig={"aliases": given}))
        assert (refused.code, refused.json["code"]) == (1, 7), given
        assert "aliases" in refused.json["msg"]


# unknown keys ---------------------------------------------------------------

POOL = {"type": "host-local", "ranges": [[{"subnet": "10.90.0.0/24", "gatway": "10.90.0.9"}]],
        "rangeStrat": "10.90.0.9", "routes": [{"dst": "10.9.0.0/16", "gateway": "10.90.0.1"}]}  # fmt: skip
STATIC = {"type": "static", "addresses": [{"address": "10.90.0.9/24", "gatway": "10.90.0.1"}]}
MISSPELLED: dict[str, Any] = {
    "isGatway": True,
    "dns": {"nameserver": "10.1.1.1"},
    "portmap": {"snatt": True},
    "firewall": {"ingress": "open"},
    "bandwidth": {"ingressRate": 8000000, "ingressBurst": 8000000, "rate": 1},
    "tuning": {"sysctls": {}},
    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "ip": "1.2.3.4"}], "ports": []},
}
NAMES = ("isGatway", "dns.nameserver", "portmap.snatt", "firewall.ingress", "bandwidth.rate", "tuning.sysctls",
         "runtimeConfig.portMappings[0].ip", "runtimeConfig.ports")  # fmt: skip
IN_IPAM = {
    "host-local": (POOL, ("ipam.rangeStrat", "ipam.ranges[0][0].gatway", "ipam.routes[0].gateway")),
    "static": (STATIC, ("ipam.addresses[0].gatway",)),
}


@pytest.mark.parametrize(("ipam", "names"), IN_IPAM.values(), ids=IN_IPAM.keys())
def test_unknown_keys_stand_in_the_log_line(side: Side, ipam: dict[str, Any], names: tuple[str, ...]) -> None:
    """Runtimes discard a plugin's stderr. The line names each key with where it stands."""
    side.add({**network(), **MISSPELLED, "ipam": ipam}).ok()
    line = only_line(side)
    assert [name for name in (*NAMES, *names) if name not in line] == []


def test_a_note_about_an_unused_key_stands_in_the_log_line(side: Side) -> None:
    """ipMasqBackend, firewall.backend."""
    side.add(network(ipMasqBackend="iptables", firewall={"backend": "iptables"})).ok()
    assert "ipMasqBackend" in only_line(side)
    assert "firewall.backend" in only_line(side)


def test_a_call_without_anything_to_say_has_a_short_line(side: Side) -> None:
    """Nor are keys of runtimes and of delegated executables anything to warn of."""
    keys: dict[str, Any] = {
        "cni.dev/x": 1,
        "io.kubernetes.y": 2,
        "args": {"cni": {}},
        "runtimeConfig": {"cgroupPath": "/x"},
    }
    side.add(network(**keys)).ok()
    assert "unknown" not in only_line(side)


# options --------------------------------------------------------------------

MEANINGLESS = {
    "bridge": ({}, "mtu", "1400"),
    "bridge, another's label": ({}, "com.example.thing", "1"),
    "bridge, the engine's": ({}, "com.docker.network.bridge.nmae", "x"),
    "macvlan": ({"driver": "macvlan"}, "com.docker.network.bridge.name", "x"),
    "macvlan, another's label": ({"driver": "macvlan"}, "com.example.thing", "1"),
}


def test_an_option_that_means_nothing_is_refused(side: Side) -> None:
    """By CNI, by the command line and by the library alike, naming the option."""
    for keys, option, value in MEANINGLESS.values():
        refused = side.add(cnm(**keys, options={option: value}))
        assert (refused.code, refused.json["code"]) == (1, 7), (keys, option)
        assert option in refused.json["msg"]
        driver = keys.get("driver", "bridge")
        command = [str(side.executable), "network", "create", "made", "--driver", driver, "-o", f"{option}={value}"]
        done = side.node.run(*command)
        assert done.code != 0, (keys, option)
        assert option in done.err
        assert side.node.links() == {"lo"}


def test_the_frontends_take_the_same_options(side: Side) -> None:
    """One that means something is taken by both."""
    side.add(cnm(options={"com.docker.network.driver.mtu": "1400"})).ok()
    command = [str(side.executable), "network", "create", "made", "-o", "com.docker.network.driver.mtu=1400"]
    side.node.run(*command).ok()
