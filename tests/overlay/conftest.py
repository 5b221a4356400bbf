"""Labs: `lab` is one for each test, `trio` one for each file, with three hosts and the network `web`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.overlay.lab import WEB, Host, Lab


def _new() -> Lab:
    if os.geteuid():
        pytest.skip("hosts are network and mount namespaces, which need root")
    if shutil.which("etcd") is None:
        pytest.skip("needs etcd")
    made = Lab()
    made.etcd.start()
    return made


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An underlay and its store, without hosts."""
    with _new() as made:
        yield made


class Trio(NamedTuple):
    """Two hosts on one link, and one behind a router."""

    lab: Lab
    one: Host
    two: Host
    far: Host

    @property
    def hosts(self) -> tuple[Host, Host, Host]:
        return self.one, self.two, self.far


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    """With the network `web` of both IP versions."""
    with _new() as lab:
        hosts = Trio(lab, lab.host("node1"), lab.host("node2"), lab.host("far1", far=True))
        hosts.one.create(WEB)
        yield hosts
