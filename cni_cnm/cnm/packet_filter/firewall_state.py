"""What our tables, and other programs' firewalls, looked like when all was well: recorded, and compared at every ADD.

    RUN_DIR/firewall/state.json

The comparison takes 0.1 ms. Whatever changes the packet filter on behalf of records holds the lock `firewall`. A step
that removes an endpoint's or a network's elements holds it shared until the record is gone: so nothing is put back for
a record that is being removed.
"""

from __future__ import annotations

from cni_cnm.errors import DamagedRecord
from cni_cnm.model import digest
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.record_reader import read
from cni_cnm.state.store import FIREWALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.host import Host
    from cni_cnm.kernel import Handle
    from cni_cnm.model import Json

RULES = 3
"""Raised when a chain gets other rules than the release before gave it: the next look then writes all of them anew."""
HAIRPIN_RULES, NO_HAIRPIN_RULES = "reflection", "no reflection"
"""In the place of a digest in `State.declared`: hairpin_rules.py has written its rules, or the kernel refused them."""
_STATE = "state"


class State(NamedTuple):
    epoch: str = ""
    tables: Mapping[str, int] = {}
    """Our tables and their handles: a table that was deleted and made again has another handle."""
    chains: tuple[str, ...] = ()
    """Our chains with a hook, as `FAMILY TABLE CHAIN`."""
    declared: tuple[str, ...] = ()
    """Digests of the declarations that were run since these tables were made."""
    foreign_stamp: Json = ()
    """The stamp of other programs' firewalls; `[]`: there are none. JSON key `others`."""
    watched: tuple[str, ...] = ()
    """Their chains that the stamp covers."""
    accepted: Mapping[str, Json] = {}
    """By id of a network, or of an endpoint alone on its link: what other firewalls were told to accept
    (firewall/foreign_accept.py)."""
    obstacles: Mapping[str, Json] = {}
    """By the same ids: what other firewalls drop, or may drop, all the same (firewall/foreign_drops.py)."""
    rules: int = RULES
    """`RULES` of the program that wrote the rules; 0 for 0.1.0, which records none."""
    bridges: Json = ()
    """What the bridges of this host were when `foreign` was found (foreign_bridges.py)."""
    foreign: tuple[str, ...] = ()
    """Those of other programs."""
    rule_counts: Mapping[str, int] = {}
    """How many rules each of our chains with a hook has."""


def lock(host: Host, *, shared: bool = False) -> AbstractContextManager[None]:
    return host.store.lock("firewall", shared=shared)


def load(host: Host) -> State:
    """An empty state if none was recorded in this epoch, or if 0.1.0 recorded it: its rules are others."""
    try:
        return read(host.store, FIREWALL, _STATE, lambda raw: _from_json(raw, host.epoch)) or State()
    except DamagedRecord:
        return State()  # everything is looked at again


def _from_json(raw: Json, epoch: str) -> State:
    if raw.get("epoch") != epoch:
        return State()
    if "rules" not in raw:
        return State(rules=0)
    chains, declared, watched = (tuple(raw[field]) for field in ("chains", "declared", "watched"))
    return State(
        raw["epoch"],
        raw["tables"],
        chains,
        declared,
        raw["others"],
        watched,
        raw["accepted"],
        raw["obstacles"],
        raw["rules"],
        raw["bridges"],
        tuple(raw["foreign"]),
        raw["rule_counts"],
    )


def store(host: Host, state: State, chains: Iterable[str], declared: Iterable[str]) -> State:
    """Record the kernel's present state for these chains and declarations. Returns what was recorded.

    The stamp of other firewalls stays that of `state`: their changes since then have to be looked at.
    """
    chains = tuple(dict.fromkeys(chains))
    tables = tuple(dict.fromkeys(" ".join(chain.split(" ")[:2]) for chain in chains))
    seen: Sequence[Handle | None] = host.nft.handles([*tables, *chains]) if tables else ()
    there = {name: one for name, one in zip((*tables, *chains), seen, strict=True) if one}
    state = state._replace(
        epoch=host.epoch,
        tables={table: there[table].handle for table in tables if table in there},
        chains=tuple(chain for chain in chains if chain in there),
        rule_counts={chain: there[chain].use for chain in chains if chain in there},
        declared=tuple(dict.fromkeys(declared)),
    )
    raw = state._asdict()
    raw["others"] = raw.pop("foreign_stamp")
    host.store.put(FIREWALL, _STATE, raw)
    return state


def remove_unfinished(host: Host) -> None:
    """Remove what a killed call has left of the state beside it. Fast if there is nothing."""
    if host.store.unfinished(FIREWALL, _STATE):
        with lock(host):
            raw = host.store.get(FIREWALL, _STATE)
            if raw:
                host.store.put(FIREWALL, _STATE, raw)
            else:
                host.store.delete(FIREWALL, _STATE)


def is_intact(host: Host, state: State) -> bool:
    """True if our tables are still the same ones with this program's rules, as many in each chain with a hook.

    Saved rules that are loaded into tables that are there come in addition.
    """
    if state.epoch != host.epoch or state.rules != RULES:
        return False
    if not state.tables:
        return True
    seen = host.nft.handles([*state.tables, *state.chains])
    tables, chains = seen[: len(state.tables)], seen[len(state.tables) :]
    handles = zip(tables, state.tables.values(), strict=True)
    rules = zip(chains, (state.rule_counts.get(name) for name in state.chains), strict=True)
    return all(one and one.handle == handle for one, handle in handles) and all(
        one and one.use and count in (None, one.use) for one, count in rules
    )


def has_written(host: Host) -> bool:
    """True if this program has written its rules in this epoch. Without a state that can be read that is not known."""
    state = load(host)
    return state.epoch == host.epoch and state.rules == RULES


def is_declared(state: State, declare: str) -> bool:
    """True if the kernel has the rules of a declaration. One that was not run since a flush may have lost them."""
    return _digest(declare) in state.declared


def remember(host: Host, declare: str) -> None:
    """After a commit: the declaration was run, and its chains are compared from now on."""
    with lock(host):
        known = load(host)
        store(host, known, (*known.chains, *base_chains(declare)), (*known.declared, _digest(declare)))


def base_chains(declare: str) -> list[str]:
    """The chains with a hook that a declaration makes, as `FAMILY TABLE CHAIN`."""
    lines = (line.split() for line in declare.splitlines())
    return [" ".join(words[2:5]) for words in lines if words[:2] == ["add", "chain"] and "hook" in words]


def _digest(declare: str) -> str:
    return digest(declare)[:12]
