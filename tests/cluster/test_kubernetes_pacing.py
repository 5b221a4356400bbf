"""A thousand agents that start, or lose the API server, at one moment: how often each one asks, and when again.

Each agent is the real directory behind the real loop (cluster/follow.py), with a clock that only pauses and a silent
server move. They do not know of each other, so they run one after the other, and every fourth one is run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from cni_cnm.cluster import follow as follow_module
from cni_cnm.cluster import stores
from cni_cnm.cluster.follow import follow
from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.cluster.kubernetes import client as client_module
from cni_cnm.cluster.kubernetes import watch as watch_module
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.pace import Pace
from cni_cnm.cluster_settings import ClusterSettings

AGENTS, RUN = 1000, 250
PACE = Pace.of_many(AGENTS)
LIST = b'{"kind": "NodeList", "metadata": {"resourceVersion": "5"}, "items": []}'
GONE = b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n'


class End(BaseException):
    """Of what is looked at."""


class World:
    """One API server, as one agent sees it. `requests`: when each was, and what."""

    def __init__(
        self,
        status: Callable[[str, float], int],
        watch: Callable[[float], tuple[float, bytes | None]],
        retry_after: str = "",
        until_s: float = 120,
    ) -> None:
        """`status`: of HTTP, 0 for none. `watch`: how long one lasts that begins then, and its last line, or a cut."""
        self.status, self.watch, self.retry_after, self.until_s = status, watch, retry_after, until_s
        self.now = 0.0
        self.requests: list[tuple[float, str]] = []

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        if self.now > self.until_s:
            raise End
        return False

    def ask(self, what: str) -> int:
        self.requests.append((self.now, what))
        status = self.status(what, self.now)
        if not status:
            raise NoAnswer("connection refused", sent=False)
        return status


class Answer:
    """What `Connection.pieces` and `Connection.stream` give."""

    def __init__(self, world: World, status: int) -> None:
        self.world, self.status, self.retry_after, self.content = world, status, world.retry_after, b"no"
        lasts, self.last = world.watch(world.now)
        self.end = world.now + lasts

    def __iter__(self) -> Iterator[bytes]:
        yield LIST if self.status == 200 else self.content

    def line(self, wait_s: float, _line_s: float) -> bytes | None:
        world = self.world
        if world.now + wait_s < self.end:
            world.sleep(wait_s)
            return None
        world.sleep(max(0.0, self.end - world.now))
        if self.last is None:
            raise NoAnswer("the connection ended", sent=True)
        return self.last


def connection_to(world: World) -> type:
    class Connection:
        def __init__(self, *_: object) -> None:
            pass

        def pieces(self, *_: object) -> Answer:
            return Answer(world, world.ask("list"))

        def stream(self, *_: object) -> Answer:
            return Answer(world, world.ask("watch"))

        def fresh(self) -> bool:
            return True

        def close(self) -> None:
            pass

        cut = close

    return Connection


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[World]]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        '{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],'
        '"clusters": [{"name": "c", "cluster": {"server": "http://192.0.2.1"}}]}'
    )
    kubeconfig.chmod(0o600)
    settings = ClusterSettings("kubernetes", kubeconfig=str(kubeconfig))
    monkeypatch.setattr(Pace, "of_many", lambda _hosts: PACE)
    random.seed(42)  # of 250 agents for a thousand, a second can be busy by chance: once in 200 runs

    def agent(world: World) -> World:
        for module in (client_module, watch_module):
            monkeypatch.setattr(module, "monotonic", lambda: world.now)
        monkeypatch.setattr(watch_module, "sleep", world.sleep)
        monkeypatch.setattr(client_module, "Connection", connection_to(world))
        directory = KubernetesDirectory(settings, 5)
        spread_s = stores.start_spread_s(settings, AGENTS)
        try:
            for _ in follow(directory, world.sleep, lambda: world.now, random.random, spread_s):
                pass
        except End:
            pass
        return world

    def all_agents(*arguments: object, **more: object) -> list[World]:
        return [agent(World(*arguments, **more)) for _ in range(RUN)]  # type: ignore[arg-type]

    return all_agents


def at_most(worlds: list[World], times: int, window_s: float = 10.0) -> None:
    """No agent asks more often in any window, so also not in the first one after its first request."""
    for world in worlds:
        when = [at for at, _ in world.requests]
        for first, last in zip(when, when[times:], strict=False):
            assert last - first >= window_s, world.requests


def spread_over(worlds: list[World], number: int, seconds: float) -> None:
    """All agents' requests of this number."""
    found = [world.requests[number][0] for world in worlds]
    assert max(found) - min(found) >= seconds


def busiest_second(worlds: list[World], after: float = 0.0) -> int:
    """Requests of all agents within one second."""
    seconds = [int(at) for world in worlds for at, _ in world.requests if at > after]
    return max(map(seconds.count, set(seconds))) * AGENTS // RUN


def calm(_now: float) -> tuple[float, bytes | None]:
    return 1000.0, b""


def test_agents_that_start_at_once_ask_twice_each(run: Callable[..., list[World]]) -> None:
    worlds = run(lambda _what, _now: 200, calm)
    assert {tuple(what for _, what in world.requests) for world in worlds} == {("list", "watch")}
    spread_over(worlds, 0, 30)
    assert busiest_second(worlds) < 200


@pytest.mark.parametrize("status", [0, 403, 401, 429, 500, 504])
def test_a_server_that_refuses_is_asked_seldom(run: Callable[..., list[World]], status: int) -> None:
    worlds = run(lambda _what, _now: status, calm, retry_after="1")
    at_most(worlds, 3)
    retry = 2 if status == 401 else 1  # a token may have been replaced: once more
    found = [world.requests[retry][0] - world.requests[0][0] for world in worlds]
    assert max(found) - min(found) >= 30
    assert busiest_second(worlds, 10) < 200


def test_watches_that_end_at_once(run: Callable[..., list[World]]) -> None:
    """An informer of the Python client asked 8,400 times in 2 s."""
    worlds = run(lambda _what, _now: 200, lambda _now: (0.0, b""))
    at_most(worlds, 3)
    assert busiest_second(worlds) < 200


def test_a_proxy_that_cuts_watches_which_say_nothing_costs_no_list(run: Callable[..., list[World]]) -> None:
    """After 20 s, while bookmarks come each minute."""
    worlds = run(lambda _what, _now: 200, lambda _now: (20.0, None), until_s=300)
    at_most(worlds, 3)
    assert {sum(what == "list" for _, what in world.requests) for world in worlds} == {1}


def test_watches_of_a_version_that_is_forgotten(run: Callable[..., list[World]]) -> None:
    worlds = run(lambda _what, _now: 200, lambda _now: (0.0, GONE))
    at_most(worlds, 3)
    assert busiest_second(worlds) < 200


@pytest.mark.parametrize("status", [0, 401, 429, 500, 503])
def test_watches_that_are_refused_cost_no_list(run: Callable[..., list[World]], status: int) -> None:
    """A list of a thousand Nodes has 15 MB."""
    worlds = run(lambda what, _now: status if what == "watch" else 200, calm, retry_after="60", until_s=400)
    at_most(worlds, 3)
    assert busiest_second(worlds, 40) < 200
    for world in worlds:
        when = {what: [at for at, each in world.requests if each == what] for what in ("list", "watch")}
        assert len(when["list"]) == 1
        assert len(when["watch"]) >= 3
        if status == 429:
            assert all(after - before >= 60 for before, after in pairwise(when["watch"]))


def test_a_server_that_gives_no_watches_gives_lists_now_and_then(run: Callable[..., list[World]]) -> None:
    """A proxy may let only lists pass. What is known must not stay as it was for ever."""
    worlds = run(lambda what, _now: 504 if what == "watch" else 200, calm, until_s=2000)
    lists = [[at for at, what in world.requests if what == "list"] for world in worlds]
    assert {len(each) for each in lists} <= {3, 4}
    assert all(after - before >= follow_module.WITHOUT_NEWS_S for each in lists for before, after in pairwise(each))


def test_watches_that_are_cut_together_come_back_one_by_one_and_make_no_list(run: Callable[..., list[World]]) -> None:
    worlds = run(lambda _what, _now: 200, lambda now: (60 - now, None) if now < 60 else (1000, b""))
    assert {tuple(what for _, what in world.requests) for world in worlds} == {("list", "watch", "watch")}
    spread_over(worlds, 2, 30)
    assert busiest_second(worlds, 59) < 100


def test_a_server_that_is_away_for_a_while(run: Callable[..., list[World]]) -> None:
    """From second 60 to 90: all agents follow again within the pause that it had begun."""
    worlds = run(
        lambda _what, now: 0 if 60 <= now < 90 else 200,
        lambda now: (60 - now, None) if now < 60 else (1000, b""),
        until_s=300,
    )
    at_most(worlds, 3)
    assert busiest_second(worlds, 59) < 200
    assert {sum(what == "list" for _, what in world.requests) for world in worlds} == {1}
    back = [next(at for at, what in world.requests if at >= 90 and what == "watch") for world in worlds]
    assert max(back) < 90 + PACE.last_s + PACE.spread_s


@pytest.mark.parametrize(("hosts", "first_s", "spread_s"), [(0, 10, 40), (3, 1, 0.1), (360, 4, 12), (9999, 10, 120)])
def test_pauses_grow_with_the_number_of_hosts(hosts: int, first_s: float, spread_s: float) -> None:
    pace = Pace.of_many(hosts)
    assert (pace.first_s, pace.spread_s) == (first_s, spread_s)
    assert pace.pause(0, 0.0) == pace.first_s
    assert pace.pause(99, 1.0) == pace.last_s + max(pace.last_s, spread_s)
