"""Endpoints that an earlier release has made and that still run: this version serves them, and the release again its.

The release runs from the history of this repository. Where that is cut off, the host is made from what is kept of it in
tests/upgrade/VERSION (frozen.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upgrade import frozen, versions
from tests.upgrade.scene import Scene
from tests.upgrade.versions import RELEASES, Version

UNKNOWN = {"published_only4", "published_only6", "unmasqueraded4"}
"""Sets that a release does not know: it has no rule that reads them, and removes no element."""
NOTHING = {"files": [], "leases": [], "links": [], "elements": ""}


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Version:
    found = versions.released(request.param, tmp_path_factory.mktemp("release"))
    if found is None:
        pytest.skip(f"the history of this checkout does not reach back to {request.param}")
    return found


@pytest.fixture
def scene(require_root: None, release: Version, tmp_path: Path) -> Iterator[Scene]:
    """With a group of endpoints that the release has made."""
    made = Scene(tmp_path, release)
    try:
        for frontend in made.frontends:
            frontend.make(1)
        yield made
    finally:
        made.close()


def test_upgrade(scene: Scene, tmp_path: Path) -> None:
    """Endpoints of the release are checked, served and removed, with new ones beside them on the same networks."""
    scene.use(versions.this(tmp_path))
    for frontend in scene.frontends:
        frontend.works(1)
        frontend.check(1)
        frontend.make(2)
        frontend.works(2)
        frontend.remove(1)
        frontend.works(2)
        frontend.remove(2)
        frontend.forget()
    assert scene.left() == NOTHING


def test_garbage_collection(scene: Scene, tmp_path: Path) -> None:
    """Pods of the release that the runtime does not name are taken down, and nothing else is."""
    scene.use(versions.this(tmp_path))
    scene.pods.make(2)
    before = scene.endpoints()
    scene.pods.collect(1)
    assert before - scene.endpoints() == {(pod.name, pod.container) for pod in scene.pods.group(1)}
    for frontend in (scene.docker, scene.library):
        frontend.works(1)
    scene.pods.works(2)


def test_downgrade(scene: Scene, release: Version, tmp_path: Path) -> None:
    """The release takes down its own endpoints, which this version has touched, and those that this version made."""
    scene.use(versions.this(tmp_path))
    for frontend in scene.frontends:
        frontend.check(1)
        frontend.make(2)
    scene.use(release)
    for frontend in scene.frontends:
        frontend.remove(1)
        frontend.works(2)
        frontend.remove(2)
        frontend.forget()
    left = scene.left()
    assert {name for name, _ in json.loads(left.pop("elements") or "[]")} <= UNKNOWN, "of no rule that it has"
    assert left == {key: value for key, value in NOTHING.items() if key != "elements"}
    scene.use(versions.this(tmp_path))
    for frontend in scene.frontends:
        frontend.make(3)
        frontend.remove(3)
        frontend.forget()
    assert scene.left() == NOTHING


@pytest.mark.parametrize("name", RELEASES)
def test_frozen_endpoints_are_removed(require_root: None, name: str, tmp_path: Path) -> None:
    """What a release has left on disk and in the kernel is taken down by every frontend."""
    scene = Scene(tmp_path, versions.this(tmp_path))
    try:
        frozen.restore(scene, frozen.FOLDER / name)
        for frontend in scene.frontends:
            frontend.remove(1)
            frontend.forget()
        assert scene.left() == NOTHING
    finally:
        scene.close()
