"""Malformed and hostile CNI calls, for the frontend with a stand-in engine and for the real executable alike.

Every one must be answered by one JSON error object with one of the given codes, before anything is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Hostile(NamedTuple):
    id: str
    env: Mapping[str, str]
    stdin: bytes
    codes: frozenset[int]
    """Codes an answer may have."""


ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "hostile-1",
    "CNI_NETNS": "/var/run/netns/hostile-does-not-exist",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
CONF: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "hostile",
    "type": "cni-cnm",
    "bridge": "hostile0",
    "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"},
}
LONG = 1 << 16


def environ(**changes: str | None) -> dict[str, str]:
    """ENV with changes; None removes a variable."""
    return {key: value for key, value in {**ENV, **changes}.items() if value is not None}


def conf(**changes: Any) -> bytes:
    """CONF with changes, as sent."""
    return json.dumps({**CONF, **changes}).encode()


def requests() -> Iterator[Hostile]:
    for name, env, code in _environments():
        yield Hostile(f"env: {name}", env, conf(), frozenset((code,)))
    for name, stdin, code in _documents():
        for verb in ("ADD", "DEL"):
            yield Hostile(f"stdin: {name}, {verb}", environ(CNI_COMMAND=verb), stdin, frozenset((code,)))
    for name, changes, code in _values():
        yield Hostile(f"value: {name}", environ(), conf(**changes), frozenset((code,)))
    for name, verb, changes, code in _verbs():
        yield Hostile(f"verb: {name}", environ(CNI_COMMAND=verb), conf(**changes), frozenset((code,)))


def _environments() -> Iterator[tuple[str, dict[str, str], int]]:
    for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"):
        yield f"{name} missing", environ(**{name: None}), 4
        yield f"{name} empty", environ(**{name: ""}), 4
    yield "everything missing", {"CNI_COMMAND": "ADD"}, 4
    yield "CNI_PATH missing for GC", environ(CNI_COMMAND="GC", CNI_PATH=None), 4
    for verb in ("add", "ADD ", "FROB", "ADD\n", "É", "A" * LONG):
        yield f"verb {verb[:8]!r}", environ(CNI_COMMAND=verb), 4
    for container in ("../../etc/passwd", "-x", "a b", "a\n", "é", "a/b", ".hidden", "a;reboot", "a\udcff"):
        yield f"container id {container!r}", environ(CNI_CONTAINERID=container), 4
        yield f"container id {container!r}, DEL", environ(CNI_CONTAINERID=container, CNI_COMMAND="DEL"), 4
    for ifname in (".", "..", "a/b", "a:b", "a b", "eth0\n", "x" * 16, "é" * 8, "x" * LONG, "a\u00a0b"):
        yield f"interface {ifname[:20]!r} of {len(ifname)}", environ(CNI_IFNAME=ifname), 4
    for args in (
        "MAC",
        "MAC=zz",
        "MAC=01:00:5e:00:00:01",
        "MAC=00:00:00:00:00:00",
        "IP=10.0.0.300",
        "IP=fe80::1%lo",
    ):
        yield f"CNI_ARGS {args}", environ(CNI_ARGS=args), 4
    for args in (
        "IP=10.0.0.1/255.0.0.0",
        "IP=10.0.0.1/",
        "GATEWAY=10.0.0.1/24",
        "GATEWAY=x",
        "IP=" + "9" * LONG,
    ):
        yield f"CNI_ARGS {args[:24]}", environ(CNI_ARGS=args), 4
    for owner in ("../x", "a b", "x" * 65, '"', "a//b", "é"):
        yield f"CNI_CNM_OWNER {owner[:8]!r}", environ(CNI_CNM_OWNER=owner), 4


def _documents() -> Iterator[tuple[str, bytes, int]]:
    wrong: Any
    yield "empty", b"", 6
    yield "blank", b" \n", 6
    yield "cut off", conf()[:-1], 6
    yield "two objects", conf() + conf(), 6
    yield "null", b"null", 6
    yield "list", b"[" + conf() + b"]", 6
    yield "text", b'"hostile"', 6
    yield "number", b"1", 6
    yield "single quotes", b"{'name':'hostile'}", 6
    yield "comment", b'{"name":"hostile"} // no', 6
    yield "trailing comma", b'{"name":"hostile",}', 6
    yield "NaN", b'{"name":"hostile","mtu":NaN}', 6
    yield "Infinity", b'{"name":"hostile","mtu":-Infinity}', 6
    yield "a float that overflows", b'{"name":"hostile","mtu":1e999}', 6
    yield "a number of 5000 digits", b'{"name":"hostile","mtu":' + b"9" * 5000 + b"}", 6
    yield "invalid UTF-8", b'{"name":"hostil\xff"}', 6
    yield "UTF-8 of a surrogate", b'{"name":"\xed\xa0\x80"}', 6
    yield "byte order mark", b"\xef\xbb\xbf" + conf(), 6
    yield "UTF-16", conf().decode().encode("utf-16"), 6
    yield "a raw control character", b'{"name":"hos\ntile"}', 6
    yield "NUL bytes", b"\0" * 100, 6
    yield "lists 100000 deep", b"[" * 100_000, 6
    yield "closed lists 100000 deep", b'{"name":"hostile","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 6
    yield "objects 100000 deep", b'{"a":' * 100_000, 6
    yield "closed lists 100 deep", b'{"name":"hostile","x":' + b"[" * 100 + b"]" * 100 + b"}", 6
    yield "more than 4 MiB", b'{"name":"hostile","x":"' + b"a" * (4 << 20) + b'"}', 6
    yield "no name", b'{"cniVersion":"1.0.0"}', 7
    yield "null name", b'{"name":null}', 7
    for name in ("", "../x", "a/b", "a b", "-a", "a\n", "a\0b", "é", "x" * 201, "x" * LONG, ".", ".."):
        yield f"name {name[:8]!r} of {len(name)}", conf(name=name), 7
    for wrong in (1, 1.5, True, [], {}):
        yield f"name {wrong!r}", conf(name=wrong), 7
    for version in ("9.9.9", "1", "1.0", "v1.0.0", " 1.0.0", "1.0.0\n", "x" * LONG, "1.0.0\0"):
        yield (
            f"version {version[:8]!r} of {len(version)}",
            conf(cniVersion=version),
            7 if "\0" in version else 1,
        )
    for wrong in (1.0, ["1.0.0"], {"a": 1}, False):
        yield f"version {wrong!r}", conf(cniVersion=wrong), 7


def _values() -> Iterator[tuple[str, dict[str, Any], int]]:
    wrong: Any
    for key in ("type", "profile", "driver", "owner"):
        for wrong in (1, ["x"], {"x": "y"}, True, "a\0b", "../x"):
            if (key, wrong) != ("type", "../x"):
                yield f"{key} is {wrong!r}", {key: wrong}, 7
    for key in ("ipam", "dns", "args", "runtimeConfig", "options", "labels"):
        for wrong in (1, "x", ["x"], True):
            yield f"{key} is {wrong!r}", {key: wrong}, 7
    for key in ("internal", "enableIPv6"):
        for wrong in (1, "true", [], {}):
            yield f"{key} is {wrong!r}", {key: wrong}, 7
    yield "driver host", {"driver": "host"}, 7
    yield "an owner that is too long", {"owner": "x" * LONG}, 7
    for wrong in (5, "../bin/sh", "/bin/sh", "a b", ["x"], "a\0"):
        yield f"ipam.type {wrong!r}", {"ipam": {"type": wrong}}, 7
    yield "NUL in ipam", {"ipam": {"type": "host-local", "dataDir": "/tmp\0/x"}}, 7
    yield "NUL deep in ipam", {"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/8\0"}]]}}, 7
    yield "dns.nameservers is text", {"dns": {"nameservers": "10.0.0.1"}}, 7
    yield "dns.search has a number", {"dns": {"search": [1]}}, 7
    yield "dns.domain is a list", {"dns": {"domain": []}}, 7
    yield "an option is a list", {"options": {"com.docker.network.driver.mtu": [1]}}, 7
    yield "a label is a number", {"labels": {"a": 1}}, 7
    yield "mac is no MAC", {"mac": "hello"}, 7
    yield "args.cni is a list", {"args": {"cni": []}}, 7
    yield "args.cni.ips is text", {"args": {"cni": {"ips": "10.0.0.1"}}}, 7
    yield "args.cni.mac is a number", {"args": {"cni": {"mac": 2}}}, 7
    for mac in (
        "02:00:00:00:00",
        "02:00:00:00:00:0g",
        "0x0200000000",
        "ff:ff:ff:ff:ff:ff",
        "\u06602:00:00:00:00:01",
        "x" * LONG,
    ):
        yield f"runtimeConfig.mac {mac[:20]!r}", {"runtimeConfig": {"mac": mac}}, 7
    for address in (
        "10.0.0.256",
        "",
        "10.0.0.1/33",
        "010.0.0.1",
        "::1%eth0",
        "10.0.0.1/+8",
        "0x0a000001",
        "::g",
    ):
        yield f"runtimeConfig.ips {address!r}", {"runtimeConfig": {"ips": [address]}}, 7
    for wrong in (1, None, {}, ["10.0.0.1"]):
        yield f"runtimeConfig.ips [{wrong!r}]", {"runtimeConfig": {"ips": [wrong]}}, 7
    for wrong in ("10.0.0.0/8", {}, [1], [[1]], [[]], [None]):
        yield f"runtimeConfig.ipRanges {wrong!r}", {"runtimeConfig": {"ipRanges": wrong}}, 7
    yield "runtimeConfig.dns is a list", {"runtimeConfig": {"dns": []}}, 7
    for alias in ("", "a b", "a\nb", "x" * 254, 1):
        yield f"runtimeConfig.aliases {alias!r:.12}", {"runtimeConfig": {"aliases": [alias]}}, 7
    yield "portMappings is an object", {"runtimeConfig": {"portMappings": {}}}, 7
    yield "portMappings has text", {"runtimeConfig": {"portMappings": ["80:80"]}}, 7
    yield "hostPort is text", {"runtimeConfig": {"portMappings": [{"hostPort": "80"}]}}, 7
    yield "hostPort is a float", {"runtimeConfig": {"portMappings": [{"hostPort": 80.0}]}}, 7
    yield "hostPort is true", {"runtimeConfig": {"portMappings": [{"hostPort": True}]}}, 7
    wrong_ports = (
        {"hostPort": 0},
        {"hostPort": 70000},
        {"hostIP": "x"},
        {"hostIP": "::1"},
        {"protocol": "icmp"},
        {"range": -1},
    )
    for wrong in wrong_ports:
        mapping = {"hostPort": 80, "containerPort": 80, "protocol": "tcp", **wrong}
        yield f"portMappings {wrong!r}", {"runtimeConfig": {"portMappings": [mapping]}}, 7
    yield "portmap with another's chain", {"portmap": {"externalSetMarkChain": "KUBE-MARK-MASQ"}}, 7
    yield "portmap with iptables conditions", {"portmap": {"conditionsV4": ["-s", "10.0.0.0/8"]}}, 7
    yield "a rate without burst", {"runtimeConfig": {"bandwidth": {"IngressRate": 8000}}}, 7
    yield "a rate that is text", {"runtimeConfig": {"bandwidth": {"ingressRate": "fast"}}}, 7
    yield "a firewall's zone", {"firewall": {"firewalldZone": "../zone"}}, 7
    yield "a firewall's chain", {"firewall": {"iptablesAdminChainName": "-j"}}, 7
    for wrong in (1, [], {"backend": "pf"}, {"backend": 1}, {"ingressPolicy": "closed"}, {"ingressPolicy": []}):
        yield f"firewall {wrong!r}", {"firewall": wrong}, 7
    for wrong in (1, [], {"egressBurst": 8000}, {"ingressRate": -1, "ingressBurst": 1}, {"egressRate": 1.5}):
        yield f"bandwidth {wrong!r}", {"bandwidth": wrong}, 7
    yield "bandwidth of some subnets", {"bandwidth": {"shapedSubnets": ["10.0.0.0/8"]}}, 2
    for wrong in (
        1,
        [],
        {"mac": "x"},
        {"mtu": "big"},
        {"promisc": 1},
        {"txQLen": -1},
        {"sysctl": []},
        {"sysctl": {"kernel.hostname": "x"}},
        {"sysctl": {"net.core.somaxconn": None}},
        {"sysctl": {"net.ipv4/../kernel": "1"}},
    ):
        yield f"tuning {wrong!r}", {"tuning": wrong}, 7


def _verbs() -> Iterator[tuple[str, str, dict[str, Any], int]]:
    wrong: Any
    for version in ("", "0.1.0", "0.3.1"):
        yield f"CHECK at {version!r}", "CHECK", {"cniVersion": version}, 1
    for version in ("", "0.4.0", "1.0.0"):
        for verb in ("GC", "STATUS"):
            yield f"{verb} at {version!r}", verb, {"cniVersion": version}, 1
    yield "no addresses at 0.2.0", "ADD", {"cniVersion": "0.2.0", "ipam": None}, 7
    yield "CHECK without prevResult", "CHECK", {}, 7
    for name, previous in _previous_results():
        yield f"CHECK, prevResult {name}", "CHECK", {"prevResult": previous}, 7
    yield "GC without a list", "GC", {}, 7
    for wrong in ("x", {}, [1], [None], [{}], [{"containerID": "a"}], [{"containerID": 1, "ifname": "eth0"}]):
        yield f"GC with {wrong!r}", "GC", {"cni.dev/valid-attachments": wrong}, 7
    yield "GC with a wrong alias", "GC", {"cni.dev/valid-attachments": [], "cni.dev/attachments": 1}, 7
    yield "STATUS, wrong statusExhausted", "STATUS", {"statusExhausted": "yes"}, 7


def _previous_results() -> Iterator[tuple[str, Any]]:
    yield "text", "x"
    yield "list", []
    yield "empty", {}
    yield "of no known version", {"cniVersion": "7.0.0", "ips": []}
    yield "with ips as object", {"ips": {}}
    yield "with a bad address", {"ips": [{"address": "10.0.0.1/64"}]}
    yield "without address", {"ips": [{}]}
    yield "with a bad gateway", {"ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.0/24"}]}
    yield "with an index beyond", {"interfaces": [], "ips": [{"address": "10.0.0.2/24", "interface": 0}]}
    yield (
        "with a negative index",
        {"interfaces": [{"name": "a"}], "ips": [{"address": "10.0.0.2/24", "interface": -1}]},
    )
    yield (
        "with an index as text",
        {"interfaces": [{"name": "a"}], "ips": [{"address": "10.0.0.2/24", "interface": "0"}]},
    )
    yield "with a bad route", {"routes": [{"dst": "default"}]}
    yield "with an interface as text", {"interfaces": ["eth0"]}
    yield "with ip4 as list", {"cniVersion": "0.2.0", "ip4": []}
