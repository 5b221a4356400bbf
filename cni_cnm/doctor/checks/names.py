"""Networks that answer names: whether a server runs for each, with the names that are recorded, and can be asked."""

from __future__ import annotations

import os
import re
from errno import EADDRINUSE

from cni_cnm.cnm.network import name_service
from cni_cnm.cnm.packet_filter import foreign_obstacles, name_elements
from cni_cnm.cnm.reconcile import names as reconcile_names
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.doctor.commands import command, install
from cni_cnm.doctor.finding import REPAIR, Finding, Unchecked
from cni_cnm.firewall import foreign_drops
from cni_cnm.kernel.contract import filter_rules
from cni_cnm.names import server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture
    from cni_cnm.kernel.contract.filter_rules import BaseChain

_WHY = "Its containers do not find each other by name, and other names neither, where the gateway is their name server."

_PROTOCOLS = {"udp": "17", "tcp": "6"}
_FAMILIES = {4: "ip", 6: "ip6"}
_IPTABLES = {"ip": "iptables", "ip6": "ip6tables"}


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    for record in picture.networks:
        for sentence in name_service.obstacles(picture.host, record):
            yield Finding(sentence, _WHY, (_remedy(sentence),), about=record.name)
    yield from _of_firewalls(picture)
    for difference in reconcile_names.compare(picture.now, EVERYTHING):
        yield Finding(difference.sentence, "Questions for these names get another answer than they should.", (REPAIR,))


def _remedy(sentence: str) -> str:
    if not server.program():
        return install(f"{server.PROGRAM}-base")
    if stopped := re.search(r" (\d+) is stopped by a signal$", sentence):
        return command("kill", "-CONT", stopped[1])
    if os.strerror(EADDRINUSE) in sentence:  # a server of the host listens on all addresses
        return command("ss", "-Hlnptu", "sport = :53")
    if "inotify" in sentence:  # each server has one, of those that its user may have
        return command("sysctl", "-w", "fs.inotify.max_user_instances=1024")
    return _start()


def _of_firewalls(picture: Picture) -> Iterator[Finding | Unchecked]:
    """Chains of other programs that drop questions before the name server gets them."""
    firewalls = picture.host.foreign_firewalls
    answering = [record for record in picture.networks if record.names is not None and record.policy.bridge]
    if firewalls is None or not answering or not firewalls.stamp(()):
        return
    chains = foreign_obstacles.base_chains(firewalls, in_zones=firewalls.firewalld())
    read = foreign_drops.reader(firewalls)
    for record in answering:
        bridge = record.policy.bridge
        families = {
            "inet",
            *(_FAMILIES[gateway.version] for gateway in name_elements.gateways_of(picture.host, record)),
        }
        found: dict[BaseChain, dict[str, bool]] = {}
        for protocol, code in _PROTOCOLS.items():
            known = {filter_rules.INPUT: bridge, filter_rules.PROTOCOL: code, filter_rules.PORT: "53"}
            for chain, certain in foreign_drops.of_input(chains, read, known):
                if chain.family in families:
                    found.setdefault(chain, {})[protocol] = certain
        for chain, protocols in found.items():
            place = f"the chain {chain.name} of the nftables table {chain.family} {chain.table}"
            if dropped := [protocol for protocol, certain in protocols.items() if certain]:
                yield Finding(
                    f"{place} drops questions from {bridge} to port 53 ({', '.join(dropped)}) by default",
                    _WHY,
                    tuple(_accept(chain, bridge, protocol) for protocol in dropped),
                    about=record.name,
                )
            else:
                yield Unchecked(
                    f"questions for names of the network {record.name} in the chain {chain.place}",
                    f"{place} drops by default what its rules do not accept, and it cannot be told whether they accept "
                    f"questions from {bridge} to port 53; `dig` in a container shows it",
                )


def _accept(chain: BaseChain, bridge: str, protocol: str) -> str:
    """Before everything else in the chain. iptables does not understand a rule of nft in its own chains."""
    if (chain.table, chain.name) == ("filter", "INPUT") and chain.family in _IPTABLES:
        program = _IPTABLES[chain.family]
        return command(program, "-I", chain.name, "-i", bridge, "-p", protocol, "--dport", "53", "-j", "ACCEPT")
    place = (chain.family, chain.table, chain.name)
    return command("nft", "insert", "rule", *place, "iifname", bridge, protocol, "dport", "53", "accept")


def _start() -> str:
    """The service starts name servers. One that a call has started does not."""
    if os.path.isdir("/run/systemd/system"):
        return command("systemctl", "enable", "--now", "cni-cnm.socket", "cni-cnm.service")
    return command("cni-cnm", "serve")
