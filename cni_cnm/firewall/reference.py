"""What the reference plugins' chain leaves in iptables for one container, read from `iptables-save`, as a script that
removes it. Pure: text in, text for `iptables-restore --noflush` out.

    nat     CNI-<24 hex>        bridge, ipMasq: addresses of the container, jumped to from POSTROUTING
            CNI-DN-<21 hex>     portmap: its published ports, jumped to from CNI-HOSTPORT-DNAT
    filter  CNI-FORWARD         firewall: two rules an address, without an owner
"""

from __future__ import annotations

from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def chains(network: str, container_id: str) -> frozenset[str]:
    """utils.FormatChainName and its users: SHA-512 over network and container id, cut to what iptables takes."""
    from hashlib import sha512  # noqa: TID251 - only where the reference's rules are looked for

    digest = sha512(f"{network}{container_id}".encode()).hexdigest()
    return frozenset((f"CNI-{digest[:24]}", f"CNI-DN-{digest[:21]}", f"CNI-SN-{digest[:21]}"))


def removal(saved: str, own_chains: frozenset[str], addresses: Iterable[str]) -> str:
    """The script; "" if nothing is there. `addresses` are those the container's leases name."""
    hosts = {f"{address}/{128 if ':' in address else 32}" for address in addresses}
    script: list[str] = []
    table, found = "", False
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line
            script.append(line)
        elif line == "COMMIT":
            script += [*_drop(own_chains, saved, table), line]
        elif line.startswith("-A ") and _is_of(line.split(), own_chains, hosts):
            script.append(f"-D{line[2:]}")
            found = True
    found = found or any(f":{chain} " in saved for chain in own_chains)
    return "\n".join(script) + "\n" if found else ""


def _is_of(words: list[str], own_chains: frozenset[str], hosts: set[str]) -> bool:
    if words[-2:-1] == ["-j"] and words[-1] in own_chains:
        return True
    named = {value for flag, value in pairwise(words) if flag in ("-s", "-d")}
    return words[1] == "CNI-FORWARD" and bool(named & hosts)


def _drop(own_chains: frozenset[str], saved: str, table: str) -> Iterator[str]:
    section = saved[saved.index(table) :].split("\nCOMMIT", 1)[0]
    for chain in sorted(own_chains):
        if f":{chain} " in section:
            yield f"-F {chain}"
            yield f"-X {chain}"
