"""How long a host waits before it asks a store again: a thousand hosts that lose it together come back one by one."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

_HOSTS_A_SECOND = 30
_FIRST_MIN_S, _FIRST_MAX_S = 1.0, 10.0
_SPREAD_UNKNOWN_S, _SPREAD_MAX_S = 40.0, 120.0


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
    def of_many(cls, hosts: int) -> Pace:
        """All hosts together ask about 30 times a second, however many there are. 0: it is not known how many."""
        spread = min(hosts / _HOSTS_A_SECOND, _SPREAD_MAX_S) if hosts else _SPREAD_UNKNOWN_S
        return cls(min(max(_FIRST_MIN_S, spread / 3), _FIRST_MAX_S), 30.0, spread)
