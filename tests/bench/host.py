"""The hosts of a benchmark: pods to attach, and stand-ins for the endpoints that are there already.

A stand-in is everything that an attached pod has on the host, made in bulk and attached to nothing: the lease, the
record, the packet filter's rules, and a veth on a bridge. They have bridges of their own, because one has 1,023 ports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cni_cnm.kernel.setns import CLONE_NEWNET, setns
from cni_cnm.model import EndpointKey, digest
from tests.bench.measure import Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LEASES = "/var/lib/cni/networks"
RECORDS = "/run/cni-cnm"
PORTS_OF_A_BRIDGE = 1000
PORTS_OF_OTHERS = 20000
"""The first port of the host that a stand-in has published."""


def run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[:500]}")
    return done.stdout


def about(plugin: str) -> str:
    """What is known of a reference plugin's version: its own word, and the package it is of."""
    said = subprocess.run([plugin], env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    words = [said.partition("\n")[0]]
    if shutil.which("dpkg-query"):
        package = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}", "containernetworking-plugins"]
        words.append(subprocess.run(package, capture_output=True, text=True).stdout)
    return ", ".join(filter(None, words)) or plugin


def pods(count: int) -> list[Pod]:
    """Containers with a network namespace each."""
    for number in range(count):
        run("ip", "netns", "add", f"pod{number}")
    return [Pod(f"pod{number:060d}", f"/run/netns/pod{number}", number) for number in range(count)]


class Host:
    """A network namespace that stands for a host, with veths on bridges: as many as asked for so far.

    The bridges are down. On one that is up the kernel looks at all ports when one loses its carrier, and holds the lock
    of all links meanwhile. After thousands of veths were made this would delay the next calls (linkwatch_event).

    Each side of the comparison has one: what the other leaves in the packet filter is not its cost.
    """

    def __init__(self, name: str) -> None:
        run("ip", "netns", "add", name)
        run("ip", "netns", "add", f"{name}-others")
        self._others = f"{name}-others"
        self._present = 0
        self._fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self.enter()
        run("ip", "link", "set", "lo", "up")

    def enter(self) -> None:
        """What this program does and starts from now on happens there."""
        setns(self._fd, CLONE_NEWNET)

    def grow(self, present: int) -> None:
        self.enter()
        run("ip", "-batch", "-", stdin="\n".join(self._commands(present)))
        self._present = max(self._present, present)

    def _commands(self, present: int) -> Iterator[str]:
        for number in range(self._present, present):
            bridge = f"others{number // PORTS_OF_A_BRIDGE}"
            if number % PORTS_OF_A_BRIDGE == 0:
                yield f"link add {bridge} type bridge"
            yield f"link add other{number} up master {bridge} type veth peer name eth{number} netns {self._others}"


def addresses(subnet: str, first: int, last: int) -> list[str]:
    """Of stand-ins: the upper half of a /16."""
    base = int(ip_address(subnet.partition("/")[0])) + (1 << 15)
    return [str(ip_address(base + number)) for number in range(first, last)]


def add_leases(network: str, found: Iterable[str]) -> None:
    for address in found:
        with open(f"{LEASES}/{network}/{address}", "w") as lease:
            lease.write(f"{_container(network, address)}\r\neth0")


def add_records(network: str, sample: Pod, found: Iterable[str]) -> None:
    """Records like those of the sample, which is attached, with the names and addresses that its pods would have.

    A lease without a record would be kept in the index of leases, which every ADD reads.
    """
    leased = ""
    names: dict[str, Callable[[str], str]] = {
        "endpoints": lambda container: EndpointKey(network, container, "eth0").id,
        "sandboxes": lambda container: digest("sandbox", container),
    }
    for folder, name in names.items():
        own = name(sample.container_id)
        with open(f"{RECORDS}/{folder}/{own}.json") as file:
            text = file.read()
        leased = leased or json.loads(text)["ipam"]["addresses"][0]
        for address in found:
            container = _container(network, address)
            other = name(container)
            record = text.replace(sample.container_id, container).replace(own, other)
            with open(f"{RECORDS}/{folder}/{other}.json", "w") as file:
                file.write(record.replace(f'"{leased}', f'"{address}'))


def add_elements(network: str, subnet: str, found: Iterable[str]) -> None:
    """Masquerading, as elements of our map."""
    elements = ", ".join(
        f'{address} comment "{digest(address)[:12]} {network}/{_container(network, address)[:20]}/eth0" '
        f": goto outside_{subnet}"
        for address in found
    )
    run("nft", "-f", "-", stdin=f"add element inet cni_cnm masquerade4 {{ {elements} }}\n")


def add_chains(network: str, subnet: str, found: Iterable[str]) -> None:
    """Masquerading, as the reference plugin's chains."""
    chains, rules = [], []
    for address in found:
        container = _container(network, address)
        chain = f"CNI-{digest(container)[:24]}"
        comment = f'-m comment --comment "name: \\"{network}\\" id: \\"{container}\\""'
        chains.append(f":{chain} - [0:0]")
        rules += [
            f"-A POSTROUTING -s {address}/32 {comment} -j {chain}",
            f"-A {chain} -d {subnet} {comment} -j ACCEPT",
            f"-A {chain} ! -d 224.0.0.0/4 {comment} -j MASQUERADE",
        ]
    run("iptables-restore", "--noflush", stdin="\n".join(["*nat", *chains, *rules, "COMMIT", ""]))


def add_port_elements(network: str, found: Iterable[str]) -> None:
    """A published port each, as elements of our maps."""
    for name, value in (("ports4", "tcp . {port}"), ("hairpin4", "{address}")):
        elements = ", ".join(
            value.format(port=PORTS_OF_OTHERS + number, address=address)
            + f' comment "{digest(address)[:12]} {network}/{_container(network, address)[:20]}/eth0" : '
            + (f"{address} . 80" if name == "ports4" else "goto hairpin_all")
            for number, address in _numbered(found)
        )
        script = f"add chain inet cni_cnm hairpin_all\nadd element inet cni_cnm {name} {{ {elements} }}\n"
        run("nft", "-f", "-", stdin=script)


def add_port_chains(network: str, found: Iterable[str]) -> None:
    """A published port each, as the reference portmap's chains."""
    chains, rules = [], []
    for number, address in _numbered(found):
        container = _container(network, address)
        chain, port = f"CNI-DN-{digest(container)[:21]}", PORTS_OF_OTHERS + number
        comment = f'-m comment --comment "dnat name: \\"{network}\\" id: \\"{container}\\""'
        chains.append(f":{chain} - [0:0]")
        rules += [
            f"-A CNI-HOSTPORT-DNAT -p tcp {comment} -m multiport --dports {port} -j {chain}",
            f"-A {chain} -s {address}/32 -p tcp -m tcp --dport {port} -j CNI-HOSTPORT-SETMARK",
            f"-A {chain} -s 127.0.0.1/32 -p tcp -m tcp --dport {port} -j CNI-HOSTPORT-SETMARK",
            f"-A {chain} -p tcp -m tcp --dport {port} -j DNAT --to-destination {address}:80",
        ]
    run("iptables-restore", "--noflush", stdin="\n".join(["*nat", *chains, *rules, "COMMIT", ""]))


def _numbered(found: Iterable[str]) -> list[tuple[int, str]]:
    """Addresses with their numbers among the stand-ins."""
    return [(int(ip_address(address)) & ((1 << 15) - 1), address) for address in found]


def _container(network: str, address: str) -> str:
    return digest("stand-in", network, address)
