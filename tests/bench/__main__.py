"""Ours beside the reference plugins, in one run, taking turns. Run by scripts/bench, in own namespaces."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from cni_cnm import __version__
from tests.bench import host, report, rows
from tests.bench.measure import Contender, Failed, Link, burst, call
from tests.bench.report import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from tests.bench.measure import Pod

CONTENDERS = ["reference", "service", "program"]
SOCKET = "/run/cni-cnm/service.sock"


class Configuration(NamedTuple):
    name: str
    keys: dict[str, object]
    """Of the bridge."""
    behind: tuple[dict[str, object], ...] = ()
    """The reference's plugins behind it; blocks of our one configuration."""
    ports: int = 0
    """Published by each pod."""
    step: int = 1
    """From one port of the host to the next."""
    moved: int = 8000
    """What a port of the host is above the container's."""
    bandwidth: dict[str, int] | None = None
    by_names: bool = False
    """Ours are called by the names of the reference's plugins, too."""
    reference: bool = True
    """Whether the reference takes part, and bursts are measured."""

    @property
    def masquerades(self) -> bool:
        return bool(self.keys.get("ipMasq"))

    def runtime(self, pod: Pod) -> dict[str, object]:
        """What a runtime hands over for the capabilities. Pods that are there at once have ports of their own."""
        given: dict[str, object] = {}
        if self.ports:
            first = FIRST_PORT + (pod.number if self.ports == 1 else 0)
            numbers = range(first, first + self.ports * self.step, self.step)
            given["portMappings"] = [
                {"hostPort": n, "containerPort": n - self.moved, "protocol": "tcp"} for n in numbers
            ]
        if self.bandwidth:
            given["bandwidth"] = self.bandwidth
        return given


FIRST_PORT = 10000
MASQUERADE: dict[str, object] = {"ipMasq": True}
PORTMAP: dict[str, object] = {"type": "portmap", "capabilities": {"portMappings": True}}
CHAIN: tuple[dict[str, object], ...] = (
    PORTMAP,
    {"type": "firewall", "ingressPolicy": "same-bridge"},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
)
LIST: tuple[dict[str, object], ...] = (PORTMAP, CHAIN[1], {"type": "tuning"})
"""nerdctl's."""
LIMITS = {"ingressRate": 10**9, "ingressBurst": 10**8, "egressRate": 10**9, "egressBurst": 10**8}
CONFIGURATIONS = (
    Configuration("bare", {}),
    Configuration("masquerade", MASQUERADE),
    Configuration("port", MASQUERADE, (PORTMAP,), ports=1),
    Configuration("chain", MASQUERADE, CHAIN, ports=1, bandwidth=LIMITS),
    Configuration("list", MASQUERADE, LIST, ports=1, by_names=True),
    Configuration("1000 ports", MASQUERADE, (PORTMAP,), ports=1000, moved=0, reference=False),
    Configuration("1000 apart", MASQUERADE, (PORTMAP,), ports=1000, step=7, reference=False),
)
"""The last two are to be held against `port`: the reference would start four thousand processes a pod. `1000 ports` are
in a row and keep their numbers."""
ROWS = ["single", "burst", "verbs", "alone"]


class Network(NamedTuple):
    """A contender's network of one configuration."""

    name: str
    subnet: str
    contenders: tuple[Contender, ...]
    ours: bool


def main() -> int:
    options = _options()
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory(dir="/run") as scratch:
        theirs, ours = host.Host("theirs"), host.Host("ours")
        service = _start_service(options.program, scratch)
        try:
            networks = _prepared(options, theirs, ours, scratch)
            pods = host.pods(max(options.pods, options.calls))
            cells.extend(_measure(options, networks, pods, theirs, ours, scratch))
        except Failed as failed:
            sys.exit(f"bench: {failed}")
        finally:
            about = _about(options, service)
            os.kill(service, 15)
            os.waitpid(service, 0)
        if "alone" in options.rows and "bare" in networks:
            print("no service: bare", file=sys.stderr)
            reference, mine = networks["bare"]
            contenders = (*reference.contenders, mine.contenders[0]._replace(name="alone"))
            cells.extend(rows.alone(min(options.calls, 20), options.program, contenders, pods, scratch))
    print("\n" + "\n".join(f"{key}: {value}" for key, value in about.items()) + "\n")
    print(report.table(cells))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report.document(cells, about), file, indent=1)
    if options.plot:
        with open(options.plot, "w") as file:
            file.write(report.plot(cells, about))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--relay", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--reference", default="/usr/lib/cni", metavar="DIR", help="reference plugins (%(default)s)")
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--configurations", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {names}")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="NAME", help=f"of {ROWS}")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS, metavar="NAME", help=f"of {CONTENDERS}"
    )
    parser.add_argument(
        "--present", nargs="+", type=int, default=[0, 1000, 5000], metavar="N", help="endpoints there already"
    )
    parser.add_argument(
        "--calls", type=int, default=50, metavar="N", help="calls of each verb one at a time (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="fewer calls (5 at least) after so long")
    parser.add_argument("--bursts", type=int, default=1, metavar="N", help="bursts of each contender (%(default)s)")
    parser.add_argument("--pods", type=int, default=100, metavar="N", help="in a burst (%(default)s)")
    parser.add_argument("--width", nargs="+", type=int, default=[16], metavar="N", help="at once in a burst (16)")
    parser.add_argument("--json", metavar="FILE", help="write all times")
    parser.add_argument("--plot", metavar="FILE.svg", help="write a picture")
    return parser.parse_args()


def _start_service(program: str, scratch: str) -> int:
    actions = [(os.POSIX_SPAWN_OPEN, 2, f"{scratch}/service.log", os.O_WRONLY | os.O_CREAT, 0o600)]
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    pid = os.posix_spawn(program, [program, "serve"], environ, file_actions=actions)
    deadline = monotonic() + 30
    while not os.path.exists(SOCKET):
        if monotonic() > deadline or os.waitpid(pid, os.WNOHANG)[0]:
            with open(f"{scratch}/service.log") as log:
                sys.exit(f"bench: the service did not start: {log.read()}")
        sleep(0.05)
    return pid


def _prepared(
    options: argparse.Namespace, theirs: host.Host, ours: host.Host, scratch: str
) -> dict[str, list[Network]]:  # fmt: skip
    """The networks of each configuration that was chosen."""
    chosen = [each for each in CONFIGURATIONS if each.name in options.configurations]
    return {
        each.name: [
            network
            for network in _networks(options, each, number, scratch, theirs, ours)
            if network.ours or each.reference
        ]
        for number, each in enumerate(chosen)
    }


def _measure(
    options: argparse.Namespace, networks: Mapping[str, Sequence[Network]], pods: Sequence[Pod],
    theirs: host.Host, ours: host.Host, scratch: str,
) -> Iterator[Cell]:  # fmt: skip
    chosen = [each for each in CONFIGURATIONS if each.name in networks]
    before = 0
    for present in sorted(options.present):
        print(f"{present} endpoints present", file=sys.stderr)
        theirs.grow(present)
        ours.grow(present)
        for configuration in chosen:
            _populate(networks[configuration.name], configuration, pods[0], scratch, before, present)
            contenders = [each for network in networks[configuration.name] for each in network.contenders]
            contenders = [each for each in contenders if each.name in options.contenders]
            if "single" in options.rows:
                print(f"  {configuration.name}: one at a time", file=sys.stderr)
                yield from _singles(options, configuration, present, contenders, pods, scratch)
            if "verbs" in options.rows and configuration.name == "bare":
                print(f"  {configuration.name}: other verbs", file=sys.stderr)
                service = networks["bare"][-1].contenders[0]
                yield from rows.verbs(options.calls, present, service, pods, scratch)
            if not configuration.reference or "burst" not in options.rows:
                continue
            print(f"  {configuration.name}: bursts", file=sys.stderr)
            yield from _bursts(options, configuration, present, contenders, pods[: options.pods], scratch)
        before = present


def _networks(
    options: argparse.Namespace, configuration: Configuration, number: int, scratch: str,
    theirs: host.Host, ours: host.Host,
) -> tuple[Network, Network]:  # fmt: skip
    """The reference's network and ours: same keys, own bridge, subnet and leases."""
    common = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_PATH": options.reference}
    relay = {**common, "CNI_CNM_PROGRAM": options.program}

    def links(folder: str, name: str, subnet: str, *, ours: bool) -> tuple[Link, ...]:
        ipam = {"type": "host-local", "subnet": subnet, "routes": [{"dst": "0.0.0.0/0"}]}
        base: dict[str, object] = {"cniVersion": "1.0.0", "name": name}
        bridge = {**base, "type": "bridge", "bridge": name, "isGateway": True, "ipam": ipam, **configuration.keys}
        if ours and not configuration.by_names:
            blocks = {str(block["type"]): _without(block, "type", "capabilities") for block in configuration.behind}
            return (Link(options.relay, {**bridge, "type": "cni-cnm", **blocks}, configuration.runtime),)
        behind = [
            Link(f"{folder}/{block['type']}", {**base, **block}, partial(_runtime_of, configuration, block))
            for block in configuration.behind
        ]
        return (Link(f"{folder}/bridge", bridge), *behind)

    ref, our = f"ref{number}", f"our{number}"
    subnets = f"10.{60 + 2 * number}.0.0/16", f"10.{61 + 2 * number}.0.0/16"
    reference = Contender("reference", links(options.reference, ref, subnets[0], ours=False), common, theirs)
    if configuration.by_names:
        relay["CNI_PATH"] = f"{_by_names(options.relay, scratch, configuration)}:{options.reference}"
    service = Contender("service", links(f"{scratch}/names", our, subnets[1], ours=True), relay, ours)
    program = service._replace(name="program", environ={**relay, "CNI_CNM_SOCKET": ""})
    return Network(ref, subnets[0], (reference,), ours=False), Network(our, subnets[1], (service, program), ours=True)


def _by_names(relay: str, scratch: str, configuration: Configuration) -> str:
    """A folder with the relay by the names of the plugins."""
    folder = f"{scratch}/names"
    os.makedirs(folder, exist_ok=True)
    for name in ("bridge", *(str(block["type"]) for block in configuration.behind)):
        if not os.path.exists(f"{folder}/{name}"):
            os.symlink(relay, f"{folder}/{name}")
    return folder


def _without(block: Mapping[str, object], *names: str) -> dict[str, object]:
    return {key: value for key, value in block.items() if key not in names}


def _runtime_of(configuration: Configuration, block: Mapping[str, Any], pod: Pod) -> dict[str, object]:
    return {key: value for key, value in configuration.runtime(pod).items() if key in block.get("capabilities", ())}


def _populate(
    networks: Sequence[Network],
    configuration: Configuration,
    sample: Pod,
    scratch: str,
    before: int,
    present: int,
) -> None:
    for network in networks:
        first = network.contenders[0]
        call(first, "ADD", sample, scratch)
        added = host.addresses(network.subnet, before, present)
        if added:
            host.add_leases(network.name, added)
            if network.ours:
                host.add_records(network.name, sample, added)
            if configuration.masquerades:
                (host.add_elements if network.ours else host.add_chains)(network.name, network.subnet, added)
            if configuration.ports and (network.ours or configuration.reference):
                (host.add_port_elements if network.ours else host.add_port_chains)(network.name, added)
        for contender in network.contenders:
            call(contender, "DEL", sample, scratch)
            call(contender, "ADD", sample, scratch)
        call(first, "DEL", sample, scratch)


def _singles(
    options: argparse.Namespace, configuration: Configuration, present: int,
    contenders: Sequence[Contender], pods: Sequence[Pod], scratch: str,
) -> Iterator[Cell]:  # fmt: skip
    times: dict[tuple[str, str], list[float]] = {}
    deadline = monotonic() + options.seconds
    for turn in range(options.calls):
        if turn >= 5 and monotonic() > deadline:
            break
        for offset in range(len(contenders)):  # each leads as often as it follows
            contender = contenders[(turn + offset) % len(contenders)]
            for verb in ("ADD", "DEL"):
                elapsed = call(contender, verb, pods[turn % len(pods)], scratch)
                times.setdefault((verb, contender.name), []).append(elapsed * 1000)
    for verb in ("ADD", "DEL"):
        for contender in contenders:
            yield Cell(configuration.name, present, "single", verb, contender.name, times[verb, contender.name])


def _bursts(
    options: argparse.Namespace, configuration: Configuration, present: int,
    contenders: Sequence[Contender], pods: Sequence[Pod], scratch: str,
) -> Iterator[Cell]:  # fmt: skip
    walls: dict[tuple[str, str, str], list[float]] = {}
    times: dict[tuple[str, str, str], list[float]] = {}
    modes = {f"burst{width}" if len(options.width) > 1 else "burst": width for width in options.width}
    for _ in range(options.bursts):
        for mode, width in modes.items():
            for contender in contenders:
                for verb in ("ADD", "DEL"):
                    wall, each = burst(contender, verb, pods, width, scratch)
                    walls.setdefault((mode, verb, contender.name), []).append(wall * 1000)
                    times.setdefault((mode, verb, contender.name), []).extend(one * 1000 for one in each)
    for mode in modes:
        for verb in ("ADD", "DEL"):
            for contender in contenders:
                key = mode, verb, contender.name
                yield Cell(configuration.name, present, mode, verb, contender.name, times[key], walls[key])


def _about(options: argparse.Namespace, service: int) -> dict[str, object]:
    """What the numbers hold for."""
    with open(f"/proc/{service}/task/{service}/children") as file:
        processes = [service, *map(int, file.read().split())]
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")
    return {
        "cni-cnm": __version__,
        "reference": host.about(f"{options.reference}/bridge"),
        "kernel": platform.release(),
        "cpus": f"{os.cpu_count()} x {model}",
        "python": platform.python_version(),
        "iptables": host.run("iptables", "--version").strip(),
        "service": f"{len(processes)} processes, {sum(map(_pss_kib, processes)) / 1024:.1f} MiB (PSS)",
    }


def _pss_kib(pid: int) -> int:
    """Proportional set size: what processes share is counted once in all."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main())
