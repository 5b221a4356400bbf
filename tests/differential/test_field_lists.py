"""Lists of the field, as the reference plugins have them and with `type` changed: the same network on every path.

*kept*: only the first plugin's `type` is changed, and the reference's other plugins stay behind it.
*folded*: the other plugins are blocks of ours.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.differential.field_lists import LISTS
from tests.differential.paths import Party, Path, link
from tests.side import REFERENCE, Answer, normal

PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": protocol} for protocol in ("tcp", "udp")]
SHORT = ("containerd", "podman", "nomad", "flannel")
"""Run in the short form of the suite, too: together they have all keys."""


def publishes(conflist: dict[str, Any]) -> bool:
    return any(plugin["type"] == "portmap" for plugin in conflist["plugins"])


class Kept(Party):
    """Ours in place of the first plugin; what is behind it stays the reference's."""

    def _run(self, verb: str, conflist: dict[str, Any], container: str, runtime: dict[str, Any]) -> Answer:
        first, *behind = conflist["plugins"]
        plugins = [{**first, "type": "cni-cnm"}, *behind]
        answer, previous = Answer(0, None, ""), None if verb == "ADD" else self._results["field", container, "eth0"]
        for plugin in plugins if verb != "DEL" else reversed(plugins):
            executable = None if plugin["type"] == "cni-cnm" else REFERENCE / plugin["type"]
            config = link(conflist, plugin, runtime, previous)
            answer = self.side.call(verb, config, container, executable=executable).ok()
            previous = answer.json if verb == "ADD" else previous
        if verb == "ADD":
            self._results["field", container, "eth0"] = answer.json
        return answer

    def add(self, conflist: dict[str, Any], container: str = "c1", *, ifname: str = "eth0", **runtime: Any) -> Answer:
        return self._run("ADD", conflist, container, runtime)

    def check(self, conflist: dict[str, Any], container: str = "c1", *, ifname: str = "eth0", **runtime: Any) -> Answer:
        """Of ours alone: the reference portmap of Debian looks for IPv6 rules that it has not made."""
        first = {**conflist["plugins"][0], "type": "cni-cnm"}
        config = link(conflist, first, runtime, self._results["field", container, "eth0"])
        return self.side.call("CHECK", config, container)

    def delete(
        self,
        conflist: dict[str, Any],
        container: str = "c1",
        *,
        ifname: str = "eth0",
        netns: str | None = None,
        remembered: bool = True,
        **runtime: Any,
    ) -> Answer:
        return self._run("DEL", conflist, container, runtime)


def questions(addresses: list[str], *, published: bool) -> list[Path]:
    """From the other host, the host, a neighbour and the container itself, to the container and to the other host."""
    pairs = [(source, address, 80) for address in addresses for source in ("outside", "", "c2")]
    pairs += [("c1", "192.0.2.2", 9090)]
    if any(":" in address for address in addresses):
        pairs += [("c1", "2001:db8::2", 9090)]
    if published:
        pairs += [(source, "192.0.2.1", 8080) for source in ("outside", "", "c2")]
    return [Path(source, kind, address, port) for source, address, port in pairs for kind in ("tcp", "udp")]


def heard(party: Party, paths: list[Path]) -> dict[Path, str | None]:
    """Answers, asked again as long as one is missing: a path that stays closed costs some seconds."""
    found = party.ask(paths)
    for _ in range(2):
        missing = [path for path in paths if found[path] is None]
        if missing:
            found |= party.ask(missing)
    return found


def with_gateways(result: dict[str, Any]) -> dict[str, Any]:
    """A route without `gw` has the gateway of its family among `ips` (SPEC "Success"): ours says it."""
    gateways = {":" in ip["address"]: ip.get("gateway") for ip in reversed(result["ips"])}
    routes = [{"gw": gateways.get(":" in route["dst"]), **route} for route in result.get("routes", [])]
    return {**result, "routes": routes}


@pytest.mark.parametrize("form", ["kept", "folded"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.long]) for name in LISTS]
)
@pytest.mark.quick("cni-cnm-podman-kept", "cni-cnm-nomad-folded", "cni-cnm-flannel-kept")
def test_list(name: str, form: str, parties: tuple[Party, Party]) -> None:
    """Result, addresses, routes, MTU and paths are the reference's. CHECK passes, DEL twice works, nothing is left."""
    conflist = LISTS[name]
    runtime: dict[str, Any] = {"portMappings": PORTS} if publishes(conflist) else {}
    mine = parties[0]
    if form == "kept":
        mine.__class__ = Kept
    states, results, answers = [], [], []
    for party in (mine, parties[1]):
        party.container("c1", "c2")
        before = party.node.links()
        result = party.add(conflist, **runtime).ok().json
        party.add(conflist, "c2").ok()
        party.serve("c1", 80)
        party.serve("outside", 9090)
        addresses = [str(ipaddress.ip_interface(ip["address"]).ip) for ip in result["ips"]]
        results.append(with_gateways(normal(result)))
        states.append(party.side.state()["c1"])
        answers.append(heard(party, questions(addresses, published=bool(runtime))))
        if party is mine and conflist["cniVersion"] >= "0.4.0":
            party.check(conflist, **runtime).ok()
        for _ in range(2):
            party.delete(conflist, "c1", **runtime).ok()
            party.delete(conflist, "c2").ok()
        bridge = conflist["plugins"][0]["bridge"]
        assert party.node.links() == before | {bridge}
        assert [lease for lease in party.side.leases("field") if lease[0].isdigit()] == []
    assert results[0] == results[1]
    assert states[0] == states[1]
    assert answers[0] == answers[1]
