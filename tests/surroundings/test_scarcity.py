"""A host that runs out of something: the code in the docs is the code that comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.program import form, program
from tests.side import Side
from tests.surroundings.configs import network


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "STATUS"])
def test_a_low_limit_of_open_files(side: Side, tmp_path: Path, verb: str) -> None:
    """From just enough to start down to nothing: what fails for want of a descriptor is 11, and the next call works."""
    if form() != "source":
        pytest.skip("below its own needs the relay cannot start another program")
    side.container("c1")
    config = {**network(ipMasq=True), "cniVersion": "1.1.0", "type": "cni-cnm"}
    result = side.add(config).ok().json if verb in ("DEL", "CHECK") else None
    stdin = json.dumps({**config, "prevResult": result} if verb == "CHECK" else config)
    env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
           "CNI_PATH": side.path}  # fmt: skip
    failures = 0
    for limit in range(14, 4, -1 if verb == "ADD" else -2):
        done = side.node.run("sh", "-c", f"ulimit -n {limit}; exec {program(tmp_path)}", stdin=stdin, env=env)
        answer = json.loads(done.out) if done.out.strip().startswith("{") else None
        if done.code == 0:
            if verb == "ADD":
                side.delete(config).ok()
            if verb == "DEL":
                side.add(config).ok()
            continue
        if answer is None:
            break  # the interpreter itself could not start
        assert answer["code"] == 11, (limit, answer)
        failures += 1
    assert failures
    side.delete(config).ok()
    assert side.node.links("/run/netns/c1") == {"lo"}
