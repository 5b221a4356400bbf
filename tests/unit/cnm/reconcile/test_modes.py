"""What earlier versions made world-writable is closed when everything is compared. What is not ours is only said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_cnm.cnm.reconcile import modes
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed
from cni_cnm.cnm.reconcile.reconcile import reconcile
from tests.unit.drivers.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def opened(world: World) -> list[Path]:
    """Folders and files as the umask 0 left them."""
    settings = world.engine.settings
    leases = Path(settings.leases_dir)
    found = [Path(settings.run_dir), Path(settings.state_dir), leases, leases / "net"]
    for path in found:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
    lease = leases / "net" / "10.1.0.9"
    lease.touch()
    lease.chmod(0o666)
    return [*found, lease]


def test_folders_and_leases_are_closed(world: World) -> None:
    paths = opened(world)
    outcomes = [one for one in reconcile(world.engine) if "any user may write" in one.sentence]
    assert {one.result for one in outcomes} == {"repaired"}
    assert {one.sentence.partition(":")[0] for one in outcomes} >= set(map(str, paths))
    assert [mode(path) for path in paths] == [0o755] * 4 + [0o644]
    assert not list(modes.compare(world.engine, EVERYTHING))


def test_links_and_sticky_folders_stay(world: World, tmp_path: Path) -> None:
    """A link is not followed, and a folder like /tmp is meant for all."""
    leases = opened(world)[2]
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (leases / "link").symlink_to(outside)
    (leases / "sticky").mkdir()
    (leases / "sticky").chmod(0o1777)
    list(reconcile(world.engine))
    assert (mode(outside), mode(leases / "sticky")) == (0o777, 0o1777)


def test_of_another_user(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and stays."""
    paths = opened(world)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    found = list(modes.compare(world.engine, EVERYTHING))
    assert {one.key for one in found} >= set(map(str, paths))
    assert all(one.stays for one in found)


def test_a_change_of_the_kernel_is_no_reason_to_look(world: World) -> None:
    opened(world)
    assert not list(modes.compare(world.engine, Changed(bridges=True)))
