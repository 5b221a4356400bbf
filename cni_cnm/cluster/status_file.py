"""What the agent says of this host: RUN_DIR/cluster/status.json, written by the agent, read by STATUS and people.

{"pid": 812, "started": 4711,                       the agent, and when it started; one that has ended says nothing
 "host": "node1", "instance": "…",
 "addresses": ["192.0.2.11"], "mtu": 1500,          of the underlay
 "store": {"name": "etcd at http://192.0.2.1:2379", "reachable": true, "since": 1700000000.5, "why": ""},
 "conflict": "",                                    a sentence: this host must not give addresses, and why
 "warnings": [],                                    sentences
 "networks": {"web": {"id": "…", "ready": true, "why": "", "remote_blocks": 2, "lost": []}},
 "figures": {"hosts": 3, "silent_hosts": 0, "blocks": 3, "lists": 1, "store_failures": 0, "compares": 4,
             "entry_changes": 9, "entry_problems": 0}}

`ready`: the data path of the network stands. `why`: why it does not. `lost`: this host's blocks that another host has
now, by their first subnet. `figures`: what is known, and what was done since the agent's start.
"""

from __future__ import annotations

import json

from cni_cnm.errors import IoFailed, file_hint
from cni_cnm.kernel import process
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json


class NetworkStatus(NamedTuple):
    """One overlay network on this host."""

    id: str = ""
    ready: bool = False
    why: str = ""
    remote_blocks: int = 0
    lost: tuple[str, ...] = ()


class StoreStatus(NamedTuple):
    """How the agent sees the store."""

    name: str = ""
    reachable: bool = False
    since: float = 0.0
    """Seconds since 1970: since when it is so."""
    why: str = ""


class AgentStatus(NamedTuple):
    """What the agent wrote last."""

    pid: int = 0
    host: str = ""
    instance: str = ""
    addresses: tuple[str, ...] = ()
    mtu: int = 0
    store: StoreStatus = StoreStatus()
    conflict: str = ""
    warnings: tuple[str, ...] = ()
    networks: Mapping[str, NetworkStatus] = {}
    figures: Mapping[str, int] = {}


def path(run_dir: str) -> str:
    return f"{run_dir}/cluster/status.json"


def write(run_dir: str, status: AgentStatus) -> None:
    """One writer: the agent. IoFailed if it cannot be written."""
    raw = {**status._asdict(), "started": process.start_time(status.pid)}
    raw["store"] = status.store._asdict()
    raw["networks"] = {name: network._asdict() for name, network in status.networks.items()}
    try:
        small_files.replace(path(run_dir), json.dumps(raw).encode())
    except OSError as error:
        raise IoFailed(f"{path(run_dir)} cannot be written: {error.strerror}", hint=file_hint(error)) from error


def read(run_dir: str) -> AgentStatus | None:
    """None if no agent has written one since the boot, if it has ended, or if the file is damaged."""
    try:
        raw = json.loads(small_files.read(path(run_dir)))
        found, started = _status(raw), int(raw["started"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    # A process of another pid namespace (an agent in a pod) cannot be seen: the file's age would have to say it.
    return found if started and started == process.start_time(found.pid) else None


def _status(raw: Json) -> AgentStatus:
    networks = {str(name): _network(one) for name, one in raw["networks"].items()}
    store = raw["store"]
    return AgentStatus(
        int(raw["pid"]),
        str(raw["host"]),
        str(raw["instance"]),
        tuple(map(str, raw["addresses"])),
        int(raw["mtu"]),
        StoreStatus(str(store["name"]), store["reachable"] is True, float(store["since"]), str(store["why"])),
        str(raw["conflict"]),
        tuple(map(str, raw["warnings"])),
        networks,
        {str(name): int(number) for name, number in raw["figures"].items()},
    )


def _network(raw: Json) -> NetworkStatus:
    lost = tuple(map(str, raw["lost"]))
    return NetworkStatus(str(raw["id"]), raw["ready"] is True, str(raw["why"]), int(raw["remote_blocks"]), lost)
