"""What tests leave on the machine if they are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.program import ROOT
from tests.waiting import until

MAKER = """
import subprocess, time
from tests.system.node import Node
node = Node()
inside = subprocess.Popen(node.command("sleep", "600"))
print(node.pid, inside.pid, flush=True)
time.sleep(600)
"""


def test_a_node_ends_with_its_maker(require_root: None) -> None:
    """All of its processes do, also if no end of a fixture is reached."""
    with subprocess.Popen([sys.executable, "-c", MAKER], stdout=subprocess.PIPE, text=True, cwd=ROOT) as maker:
        assert maker.stdout is not None
        folders = [Path("/proc", pid) for pid in maker.stdout.readline().split()]
        assert len(folders) == 2
        maker.kill()
    until(lambda: not any(folder.exists() for folder in folders), "the node's processes have ended")
