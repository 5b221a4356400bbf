"""A plugin `firewall` that changes the policy of its network, and is killed at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cni.names.runtime import BRIDGE, FIREWALL, Runtime
from tests.unit.cni.names.test_chained_plugin import STEPS_MAX, closed, killed_at


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "called again"])
def test_killed_while_a_policy_is_loosened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """`bridge` has made the interface isolated, as the container before was. Nothing of that stays, at no step."""
    for step in range(STEPS_MAX):
        runtime = Runtime(tmp_path / str(step), (BRIDGE, {"type": "firewall", "ingressPolicy": "isolated"}))
        runtime.add()
        runtime.delete()
        runtime.plugins = (BRIDGE, FIREWALL)
        previous = runtime.call("ADD", 0)
        assert len(closed(runtime)) == 1
        with killed_at(step, monkeypatch) as left:
            runtime.call("ADD", 1, previous=previous)
        if again:
            runtime.results["c1"] = runtime.call("ADD", 1, previous=previous)
            assert closed(runtime) == set(), step
            assert runtime.check() == [{}] * 2
        runtime.delete()
        assert runtime.left() == [], step
        if left[0] >= 0:
            return
    pytest.fail(f"firewall has more than {STEPS_MAX} steps")
