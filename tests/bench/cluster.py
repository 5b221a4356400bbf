"""An overlay network's entries in the kernel, and its data path. Run by scripts/bench --cluster, in own namespaces.

whole        from a list of 1,000 hosts to the last of 3,000 entries, beside the same netlink messages made beforehand:
             sent in batches with the kernel's dumps before them, each message acknowledged
host         one host that joins or leaves, with 200 and with 5,000 hosts: netlink messages, system calls, and Python's
             instructions in a process of its own (valgrind)
throughput   between two namespaces (iperf3): the overlay beside a bare VXLAN device with the same MTU, and with plain
             routes beside a route that is added by hand; taking turns
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import socket
import struct
import subprocess
import sys
from functools import partial
from ipaddress import ip_address, ip_network
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from cni_cnm.cluster import block_index
from cni_cnm.cluster.apply import Applier
from cni_cnm.cluster.plan import Plan
from cni_cnm.cluster.underlay import Device, Here, Member, Port
from cni_cnm.cluster.uplink import uplinks
from cni_cnm.cluster.values import Block, Change, ClusterHost, OverlayNetwork
from cni_cnm.kernel.netlink import netlink_socket
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from tests.bench import cluster_throughput
from tests.kernel.lab import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NETWORK = OverlayNetwork("web", "0" * 32, (ip_network("10.0.0.0/8"),), (24,), 4096, 4799, "never")
FIRST_ADDRESS = ip_address("198.18.0.0")
HOSTS, FEW, MANY = 1000, 200, 5000
RUNS = 10
MARK = "getpriority"
"""What `_mark` calls, for strace and callgrind."""
PAIRS = 10
"""A host joins and leaves so often where it is counted."""


def host(number: int) -> ClusterHost:
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    return ClusterHost(f"n{number}", f"{number:032x}", (FIRST_ADDRESS + number,), mac)


def block(number: int) -> Block:
    return Block("web", block_index.subnets_at(NETWORK, number), f"n{number}", f"{number:032x}")


class Site:
    """This host: an uplink, a bridge with the network's gateway, and what applies plans."""

    def __init__(self) -> None:
        self.namespace = Namespace()
        for command in ("link add eth0 type veth peer name far0", "addr add 192.0.2.10/24 dev eth0", "link set eth0 up",
                        "link set far0 up", "link add br-web type bridge", "link set br-web up",
                        "addr add 10.0.0.1/24 dev br-web"):  # fmt: skip
            self.namespace.ip(command)
        self.stack = KernelOverlayStack(os.dup(self.namespace.fd), "")
        self.nft = KernelNft(self.namespace.fd)
        self.applier = Applier(self.stack, self.nft)
        addresses = frozenset(address.ip for _, address in self.stack.all_addresses())
        self.here = Here("n0", "02:00:00:00:ff:ff", uplinks(self.stack, ["eth0"]), addresses)

    def plan(self, count: int) -> Plan:
        """`count` other hosts, each with a block."""
        hosts = {one.name: one for one in map(host, range(1, count + 1))}
        return Plan(self.here, [Member(NETWORK, (block(0),))], hosts, [block(one) for one in range(1, count + 1)])


def whole(runs: int) -> Iterator[str]:
    """A list of hosts, applied, beside the bare messages."""
    site = Site()
    count: dict[str, list[float]] = {}
    for run in range(runs + 1):
        hosts = {one.name: one for one in map(host, range(1, HOSTS + 1))}
        blocks = [block(one) for one in range(1, HOSTS + 1)]
        gc.collect()
        begin, used = perf_counter(), process_time()
        plan = Plan(site.here, [Member(NETWORK, (block(0),))], hosts, blocks)
        recorded = Recorded()
        with recorded:
            done = site.applier.whole(plan.wanted())
        spent = perf_counter() - begin, process_time() - used
        if done.problems or done.broken:
            sys.exit(f"bench: {done}")
        # Without any entry, but with the device.
        site.applier.whole([one for one in plan.wanted() if isinstance(one, Device | Port)])
        begin, used = perf_counter(), process_time()
        site.namespace.call(partial(bare, recorded.dumps, recorded.writes))
        without = perf_counter() - begin, process_time() - used
        begin, used = perf_counter(), process_time()
        repeated = Applier(site.stack, site.nft).whole(plan.wanted())
        compared = perf_counter() - begin, process_time() - used
        if repeated.changes > HOSTS:  # the packet filter's elements are not among the bare messages
            sys.exit(f"bench: the bare batch made other entries: {repeated}")
        site.applier.whole([])
        if run:  # the first one loads modules
            for name, figures in (("ours", spent), ("bare", without), ("again", compared)):
                count.setdefault(f"{name} wall", []).append(figures[0] * 1000)
                count.setdefault(f"{name} cpu", []).append(figures[1] * 1000)
    found = {name: median(figures) for name, figures in count.items()}
    for clock in ("wall", "cpu"):
        factor = found[f"ours {clock}"] / found[f"bare {clock}"]
        ours, theirs, again = (found[f"{name} {clock}"] for name in ("ours", "bare", "again"))
        yield (
            f"whole       {HOSTS} hosts, {len(recorded.writes)} messages, {clock} time: ours {ours:.1f} ms, "
            f"bare {theirs:.1f} ms: {factor:.2f} x; comparing again {again:.1f} ms"
        )


class Recorded:
    """The netlink messages of a `with` block: dumps of entries, and the writes, as they were sent."""

    def __init__(self) -> None:
        self.dumps: list[bytes] = []
        self.writes: list[bytes] = []

    def __enter__(self) -> None:
        self._send = netlink_socket.NetlinkSocket._send

        def send(sock: netlink_socket.NetlinkSocket, data: bytes, sentence: object) -> None:
            for message in _split(data):
                _, kind, flags = struct.unpack_from("=IHH", message)
                if kind in (26, 30) and flags & 0x300 == 0x300:
                    self.dumps.append(message)
                elif kind in (24, 28):
                    self.writes.append(message)
            self._send(sock, data, sentence)  # type: ignore[arg-type]

        netlink_socket.NetlinkSocket._send = send  # type: ignore[method-assign, assignment]

    def __exit__(self, *_: object) -> None:
        netlink_socket.NetlinkSocket._send = self._send  # type: ignore[method-assign]


def _split(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = struct.unpack_from("=I", data, at)[0]
        yield data[at : at + length]
        at += (length + 3) & ~3


def bare(dumps: Sequence[bytes], writes: Sequence[bytes]) -> None:
    """The dumps are read and not decoded; every write is acknowledged."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
    for option in (10, 11, 12):  # NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK
        sock.setsockopt(270, option, 1)
    sock.bind((0, 0))
    for message in dumps:
        sock.send(message)
        while struct.unpack_from("=IH", sock.recv(65536))[1] != 3:
            pass
    size = netlink_socket.SEND_MESSAGES
    for start in range(0, len(writes), size):
        chunk = [one[:6] + struct.pack("=H", struct.unpack_from("=H", one, 6)[0] | 4) + one[8:]
                 for one in writes[start : start + size]]  # fmt: skip
        sock.send(b"".join(chunk))
        for _ in chunk:
            if error := struct.unpack_from("=i", sock.recv(65536), 16)[0]:
                sys.exit(f"bench: a bare message failed: {os.strerror(-error)}")
    sock.close()


def one_host() -> Iterator[str]:
    """Counts in processes of their own, with few and with many hosts."""
    messages, calls, instructions = {}, {}, {}
    for count in (FEW, MANY):
        command = [sys.executable, "-m", "tests.bench.cluster", "--join", str(count)]
        messages[count] = int(_output([*command, "--messages"]))
        trace = _output(["strace", "-qq", "-o", "/dev/stdout", *command]).split(f"{MARK}(")[1]
        calls[count] = len([line for line in trace.splitlines()[1:] if re.match(r"\w+\(", line)])
        instructions[count] = _instructions(command)
    for name, found, per in (
        ("netlink messages", messages, 2 * PAIRS),
        ("system calls", calls, 2 * PAIRS),
        ("instructions", instructions, 2 * PAIRS),
    ):
        few, many = found[FEW] / per, found[MANY] / per
        shown = f"{few:.1f} with {FEW} hosts, {many:.1f} with {MANY}: {many / few:.2f} x"
        yield f"host        {name} of one that joins or leaves: {shown}"
    yield from _latency()


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)}: {done.stderr[-500:]}")
    return done.stdout


def _instructions(command: Sequence[str]) -> int:
    """User instructions of the counted part, by callgrind."""
    out = f"/tmp/cluster-counts-{os.getpid()}"
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"]
    _output([*tool, *command])
    total = 0
    parts = [name for name in os.listdir("/tmp") if name.startswith(os.path.basename(out))]
    for name in sorted(parts):
        with open(f"/tmp/{name}") as file:
            text = file.read()
        os.unlink(f"/tmp/{name}")
        found = re.search(r"^totals: (\d+)", text, re.MULTILINE)
        if name.endswith(".2") and found:
            total = int(found[1])
    return total


def join(count: int, *, messages: bool) -> None:
    """The counted process: hosts are there, then one joins and leaves, several times. Marks by a system call."""
    site = Site()
    plan = site.plan(count)
    site.applier.whole(plan.wanted())
    new, held = host(count + 1), block(count + 1)
    for _ in range(3):
        _pair(site, plan, new, held)
    sent: list[bytes] = []
    if messages:
        original = netlink_socket.NetlinkSocket._send

        def send(sock: netlink_socket.NetlinkSocket, data: bytes, sentence: object) -> None:
            sent.extend(_split(data))
            original(sock, data, sentence)  # type: ignore[arg-type]

        netlink_socket.NetlinkSocket._send = send  # type: ignore[method-assign, assignment]
    os.getpriority(os.PRIO_PROCESS, 0)
    for _ in range(PAIRS):
        _pair(site, plan, new, held)
    os.getpriority(os.PRIO_PROCESS, 0)
    if messages:
        print(len(sent))
    os._exit(0)


def _pair(site: Site, plan: Plan, new: ClusterHost, held: Block) -> None:
    for change in ([Change("host", new.name, new), Change("block", held.key, held)],
                   [Change("block", held.key, None), Change("host", new.name, None)]):  # fmt: skip
        done = site.applier.change(plan.change(change))
        if done.problems:
            sys.exit(f"bench: {done}")


def _latency() -> Iterator[str]:
    site = Site()
    for count in (FEW, MANY):
        plan = site.plan(count)
        site.applier.whole(plan.wanted())
        new, held, times = host(count + 1), block(count + 1), []
        for _ in range(50):
            begin = perf_counter()
            _pair(site, plan, new, held)
            times.append((perf_counter() - begin) * 500)
        yield f"host        from the change to the kernel with {count} hosts: {median(times):.2f} ms (median of 100)"
        site.applier.whole([])


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "whole": lambda: whole(RUNS),
    "host": one_host,
    "throughput": cluster_throughput.compare,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --cluster", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--join", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--messages", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        join(options.join, messages=options.messages)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{' '.join(unknown)}: it must be of {', '.join(PARTS)}")
    for part in options.parts:
        for line in PARTS[part]():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
