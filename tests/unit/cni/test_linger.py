"""Which calls may leave a service behind (decision 36)."""

from __future__ import annotations

import pytest

from cni_cnm import settings as settings_module
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.cni import linger
from cni_cnm.settings import Settings


@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        (Settings(), True),
        (Settings(linger=0), False),
        (Settings(cluster=ClusterSettings("etcd", ("http://127.0.0.1:2379",))), False),
    ],
)
def test_which_settings(monkeypatch: pytest.MonkeyPatch, settings: Settings, counted: bool) -> None:
    """None of a cluster's host: its service has the agent, which one that lingers has not."""
    calls = []

    def called_before(marker: str) -> bool:
        calls.append(marker)
        return False

    monkeypatch.setattr(settings_module, "in_force", lambda: settings)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(linger, "_called_before", called_before)
    linger.start_if_due({})
    assert bool(calls) == counted
