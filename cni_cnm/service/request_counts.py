"""Counts what a process of the service does (counters.py). The names of the counters are here, for their reader, too.

request VERB NETWORK CODE             requests by verb, network and error code, 0 for success
time VERB STEP BOUND, sum VERB STEP   how long: counted under the first bound that it does not exceed; and seconds
docker CALL RESULT, docker_sum CALL   Docker's calls, and their seconds
repair RESULT                         what the watch has found: repaired, failed, noted
restart PROCESS                       processes of the service that ended by themselves
"""

from __future__ import annotations

from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.frontend.reply import Reply
    from cni_cnm.service.counters import Part

REQUEST, TIME, SUM, DOCKER, DOCKER_SUM, REPAIR, RESTART = (
    "request", "time", "sum", "docker", "docker_sum", "repair", "restart",
)  # fmt: skip
BOUNDS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 5.0, 20.0)
BOUNDS = (*map(str, BOUNDS_S), "+Inf")
NETWORKS_MAX = 100
OTHER = "other"
"""Stands for the networks beyond the first `NETWORKS_MAX`, and for verbs that do not exist."""
VERBS = ("ADD", "DEL", "CHECK", "STATUS", "GC")
_RESULTS = {"REPAIR": "repaired", "REPAIR failed": "failed", "NOTICE": "noted"}


class RequestCounts:
    """Of one process. Any thread may call it."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._networks: set[str] = set()

    def request(self, reply: Reply, total_s: float, steps: Iterable[tuple[str, float]]) -> None:
        """A request was answered. `steps`: name and seconds of its parts."""
        verb, network = reply.subject.verb or OTHER, reply.subject.network
        if verb not in VERBS:
            if verb == "VERSION":  # a probe, again and again
                return
            verb = OTHER
        if network not in self._networks:
            if len(self._networks) < NETWORKS_MAX:
                self._networks.add(network)
            else:
                network = OTHER
        self._part.add(REQUEST, verb, network, str(reply.error))
        for name, seconds in (("total", total_s), *steps):
            self._part.add(TIME, verb, name, BOUNDS[bisect_left(BOUNDS_S, seconds)])
            self._part.add(SUM, verb, name, value=seconds)

    def note(self, line: str, duration_ms: float) -> None:
        """A line of the log about a call of Docker, or about a repair."""
        words = line.split(" ", 2)
        if words[0] == "docker:" and len(words) == 3 and "." in words[1]:
            result = "ok" if words[2].partition(";")[0].endswith("ok") else "failed"
            self._part.add(DOCKER, words[1], result)
            self._part.add(DOCKER_SUM, words[1], value=duration_ms / 1000)
        elif words[0] in ("REPAIR", "NOTICE"):
            kind = "REPAIR failed" if words[:2] == ["REPAIR", "failed"] else words[0]
            self._part.add(REPAIR, _RESULTS[kind])
