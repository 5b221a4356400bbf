"""The real SDK of Firecracker for Go, up to the network of a machine, with a stand-in for tc-redirect-tap."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.runtimes.built import built
from tests.runtimes.callers import CALLERS
from tests.runtimes.conftest import node_with
from tests.runtimes.tap import put_tap
from tests.runtimes.test_callers import nothing_left, ours

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.mark.parametrize("own", [False, True], ids=["theirs", "ours"])
def test_the_network_of_a_machine(bundle: Path, own: bool) -> None:
    """It gets the tap device, and the address and MAC of the interface. The SDK removes all when the machine ends."""
    programs, reason = built("firecracker")
    caller = CALLERS["firecracker"]
    network = ours(caller, 0) if own else caller.theirs[0]
    network = {**network, "plugins": [*(one for one in network["plugins"] if one not in caller.behind), *caller.behind]}
    with closing(node_with(reason, "--drop-in")) as node:
        put_tap(node)
        node.write("/etc/cni/net.d/10-machines.conflist", json.dumps(network))
        command = node.command(f"{programs}/client", "vm-1", "/run/netns/vm-1", network["name"])
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            tap, mac, address, gateway = client.stdout.readline().split()
            (link,) = node.ip("address", "show", "dev", "eth0", netns="/run/netns/vm-1")
            assert (tap, mac) == ("tap0", link["address"])
            assert node.addresses("eth0", netns="/run/netns/vm-1") == {address}
            assert node.ping(gateway, netns="/run/netns/vm-1")
            _, said = client.communicate()
        assert client.returncode == 0, said
        assert "failed" not in said
        assert not node.path("/run/netns/vm-1").exists()
        nothing_left(node)
