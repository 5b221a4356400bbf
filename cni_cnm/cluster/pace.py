"""How long a host waits before it asks a store again: a thousand hosts that lose it together come back one by one."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

_NODES_A_SECOND = 33
_FEW_S, _MANY_S = 1.0, 10.0
_SPREAD_MAX_S = 30.0


class Pace(NamedTuple):
    """Pauses before a further list, in seconds. They are doubled from the first one up to the last one."""

    first_s: float = 0.5
    last_s: float = 20.0
    spread_s: float = 0.0
    """Up to so much is added at random, and at least up to as much again."""

    def pause(self, failures: int, random: float) -> float:
        """`failures`: how often it was in vain, `random` from 0 to 1."""
        least = min(self.first_s * float(1 << min(failures, 16)), self.last_s)
        return least + random * max(least, self.spread_s)

    @classmethod
    def of_many(cls, hosts: int | None) -> Pace:
        """Of as many hosts: together they ask about 33 times a second. None: it is not known how many there are."""
        spread = _SPREAD_MAX_S if hosts is None else min(_SPREAD_MAX_S, hosts / _NODES_A_SECOND)
        return cls(max(_FEW_S, spread * _MANY_S / _SPREAD_MAX_S), 30.0, spread)
