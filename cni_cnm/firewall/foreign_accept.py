"""Living with other firewalls: what they would drop of a network for want of a rule is accepted, once per network.

An accept in a table of ours lifts no other table's drop, so it must stand in theirs, and where it counts: right
before the packet would be dropped whatever it is. That is the unconditional DROP or REJECT of `FORWARD` or of a
chain it always enters (`DOCKER-USER`, ufw's), or else the end of `FORWARD` if its policy is DROP, as Docker makes it.
What others drop or decide on purpose before (network policies, Docker's own isolation, an administrator) still counts.

Pure: the text of `iptables-save` in, a script for `iptables-restore --noflush` out, "" if all is as it should be.
The rules of a network are told by their comment, `cni-cnm:` and 12 digits of its id:

    -i br-1 -j CNI-ADMIN, -o br-1 -j CNI-ADMIN        the administrator's chain, while there is one
    -i br-1 -j ACCEPT                                 out, and within the bridge under br_netfilter
    -o br-1 --ctstate RELATED,ESTABLISHED,DNAT        answers, and published ports
    -o br-1 -j ACCEPT                                 instead of that where unasked traffic is let in
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cni_cnm.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.model import Json

_FORWARD = "FORWARD"
_DROPS = ("DROP", "REJECT")
CHAIN_NAME_MAX = 28
"""Bytes of a chain's name that iptables takes."""


class Accepted(NamedTuple):
    """What is accepted of a network, and where; `accept` has the rules."""

    network_id: str
    bridge: str
    admin_chain: str = ""
    inbound: bool = False
    internal: bool = False
    zone: str = ""
    """Of firewalld; "": trusted."""

    def options(self) -> dict[str, Json]:
        return {"admin_chain": self.admin_chain, "inbound": self.inbound, "internal": self.internal}


def parse_chain(name: object) -> str:
    """`iptablesAdminChainName`; "" for none."""
    if name is None or name == "":
        return ""
    if (
        not isinstance(name, str)
        or len(name.encode()) > CHAIN_NAME_MAX
        or name[0] in "-!"
        or not name.isprintable()
        or any(character in " \"'\\" for character in name)
    ):
        raise InvalidConfig(f"iptablesAdminChainName {name!r} is not the name of an iptables chain")
    return name


def accept(
    saved: str, network_id: str, bridge: str, *, admin_chain: str = "", inbound: bool = False, internal: bool = False
) -> str:
    """`inbound`: also what is not asked for from inside; `internal`: only what stays within the bridge."""
    chains = _Filter(saved)
    chain, before = chains.drop_of(_FORWARD) or ("", 0)
    wanted: list[str] = []
    if chain:
        mark = f"-m comment --comment {_mark(network_id)}"
        if admin_chain in chains.rules:
            wanted += [f"-A {chain} {flag} {bridge} {mark} -j {admin_chain}" for flag in ("-i", "-o")]
        if internal:
            wanted.append(f"-A {chain} -i {bridge} -o {bridge} {mark} -j ACCEPT")
        else:
            answers = "" if inbound else "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT "
            wanted.append(f"-A {chain} -i {bridge} {mark} -j ACCEPT")
            wanted.append(f"-A {chain} -o {bridge} {answers}{mark} -j ACCEPT")
    present = chains.marked(_mark(network_id))
    if present == wanted and (not wanted or chains.others_before(chain, wanted[0]) == before):
        return ""
    first = chains.number(chain, before, present)
    inserts = [f"-I {chain} {first + place}{rule.removeprefix(f'-A {chain}')}" for place, rule in enumerate(wanted)]
    return _script([*map(_delete, present), *inserts])


def accept_all(saved: str, networks: Sequence[Accepted]) -> str:
    """One script for many networks, "" if all is as it should be."""
    lines: list[str] = []
    for network in networks:
        script = accept(saved, *network[:2], **network.options())
        if script:
            saved = applied(saved, script)
            lines += script.splitlines()[1:-1]
    return _script(lines)


def applied(saved: str, script: str) -> str:
    """The filter table as it is after one of our scripts: `-I` by number, `-D` of an equal rule."""
    rules = _Filter(saved).rules
    for line in script.splitlines():
        verb, _, rest = line.partition(" ")
        chain, _, rule = rest.partition(" ")
        if verb == "-I":
            number, _, rule = rule.partition(" ")
            rules[chain].insert(int(number) - 1, f"-A {chain} {rule}")
        elif verb == "-D":
            rules[chain].remove(f"-A {rest}")
    heads = [line for line in _filter_lines(saved) if line.startswith(":")]
    return "\n".join(("*filter", *heads, *(rule for chain in rules.values() for rule in chain), "COMMIT", ""))


def entered(saved: str) -> list[str]:
    """FORWARD and the chains it always enters: only a change there can make a new drop, or take our rules away."""
    rules = _Filter(saved).rules
    found = [_FORWARD] if _FORWARD in rules else []
    for chain in found:
        targets = (_unconditional(rule) for rule in rules[chain])
        found += dict.fromkeys(target for target in targets if target in rules and target not in found)
    return found


def withdraw(saved: str, network_id: str) -> str:
    """Removes what `accept` put there, wherever it stands now."""
    return _script([_delete(rule) for rule in _Filter(saved).marked(_mark(network_id))])


def _filter_lines(saved: str) -> Iterator[str]:
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter":
            yield line


class _Filter:
    """The filter table of an `iptables-save`: rules by chain, in order, and whether FORWARD drops by policy."""

    def __init__(self, saved: str) -> None:
        self.rules: dict[str, list[str]] = {}
        self.drops = False
        for line in _filter_lines(saved):
            if line.startswith(":"):
                name, policy = line[1:].split()[:2]
                self.rules[name] = []
                self.drops |= name == _FORWARD and policy in _DROPS
            elif line.startswith("-A "):
                rule = re.sub(r'"(cni-cnm:\w+)"', r"\1", line)  # iptables quotes the colon
                self.rules.setdefault(line.split(maxsplit=2)[1], []).append(rule)

    def drop_of(self, chain: str, seen: frozenset[str] = frozenset()) -> tuple[str, int] | None:
        """Where everything that is left is dropped: the chain, and how many rules of others come before there."""
        others = [rule for rule in self.rules.get(chain, ()) if not _ours(rule)]
        for number, rule in enumerate(others):
            verdict = _unconditional(rule)
            if verdict in _DROPS:
                return chain, number
            if verdict in ("ACCEPT", "RETURN"):
                return None
            if verdict in self.rules and verdict not in seen:
                found = self.drop_of(verdict, seen | {chain})
                if found is not None:
                    return found
        return (chain, len(others)) if chain == _FORWARD and self.drops else None

    def marked(self, mark: str) -> list[str]:
        return [rule for rules in self.rules.values() for rule in rules if mark in rule.split()]

    def others_before(self, chain: str, rule: str) -> int:
        rules = self.rules[chain]
        return sum(not _ours(earlier) for earlier in rules[: rules.index(rule)])

    def number(self, chain: str, before: int, gone: Sequence[str]) -> int:
        """The number, from 1, of the place behind `before` rules of others, once the rules `gone` are deleted."""
        place = 1
        for rule in self.rules.get(chain, ()):
            if not before:
                break
            place += rule not in gone
            before -= not _ours(rule)
        return place


def _mark(network_id: str) -> str:
    return f"cni-cnm:{network_id[:12]}"


def _ours(rule: str) -> bool:
    return " --comment cni-cnm:" in rule


def _unconditional(rule: str) -> str:
    """The target of a rule without any match, "" for another. What a REJECT answers with is no match."""
    words = rule.split()
    plain = words[2:3] in (["-j"], ["-g"]) and (len(words) == 4 or words[3] == "REJECT")
    return words[3] if plain else ""


def _delete(rule: str) -> str:
    return f"-D{rule.removeprefix('-A')}"


def _script(lines: Sequence[str]) -> str:
    return "\n".join(("*filter", *lines, "COMMIT", "")) if lines else ""
