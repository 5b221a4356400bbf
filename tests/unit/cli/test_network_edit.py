"""`network edit`: two commands at once."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from cni_cnm import cli
from cni_cnm.conflists import folder
from cni_cnm.conflists.conflist import Conflist
from tests.unit.cli.hosts import CommandLine
from tests.unit.conflists.files import put

FIRST = "network edit net --conflist --subnet 10.5.0.0/16"
SECOND = "network edit net --conflist --masquerade-except 10.0.0.0/8"
LATER_S = 0.3
"""The second command has done its work by then, if nothing holds it."""


def test_no_edit_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The second command comes when the first one has read the file."""
    line = CommandLine(tmp_path / "host", monkeypatch, capfd)
    line.pods.controller.new_network("net", ipam_config={"subnet": "10.5.0.0/24"})
    conf_dir = tmp_path / "net.d"
    conf_dir.mkdir()
    put(conf_dir, "10-net.conflist", "net", {"type": "cni-cnm", "profile": "cnm", "ipam": {"subnet": "10.5.0.0/24"}})
    seconds: list[Thread] = []
    read = folder.of_network

    def read_then_wait(where: str, name: str) -> list[Conflist]:
        found = read(where, name)
        if not seconds:
            words = ["cni-cnm", *SECOND.split(), "--conf-dir", str(conf_dir)]
            seconds.append(Thread(target=cli.run_command, args=(words,)))
            seconds[0].start()
            seconds[0].join(LATER_S)
        return found

    monkeypatch.setattr(folder, "of_network", read_then_wait)
    code, _, err = line.run(*FIRST.split(), "--conf-dir", str(conf_dir))
    seconds[0].join()
    assert (code, "is changed, too" in err) == (0, True)
    network = line.pods.controller.network("net")
    assert [str(subnet) for subnet in network.subnets] == ["10.5.0.0/16"]
    assert [str(one) for one in network.record.policy.masquerade_except] == ["10.0.0.0/8"]
    [written] = read(str(conf_dir), "net")
    assert written.ours is not None
    assert written.ours.given["masqueradeExcept"] == ["10.0.0.0/8"]
    assert written.ours.given["ipam"] == {"ranges": [[{"subnet": "10.5.0.0/16"}]]}
