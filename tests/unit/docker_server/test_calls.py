"""The log lines of Docker's calls."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cnm.docker.dockerd import Dockerd, docker_id


def test_a_damaged_record_is_named_by_the_call_that_left_it_out(tmp_path: Path) -> None:
    """Also by one that fails, which may be for want of that record. The next call in the thread says nothing of it."""
    docker = Dockerd(tmp_path)
    docker.network("red", "10.1.0.0/24")
    (record,) = tmp_path.rglob("networks/*.json")
    record.write_text("{")
    failed = docker.reply("NetworkDriver.CreateEndpoint", NetworkID=docker_id("red"), EndpointID=docker_id("a"))
    assert failed.status == 500
    assert f"the record {record} is not JSON" in failed.summary
    assert docker.reply("NetworkDriver.GetCapabilities").summary == "NetworkDriver.GetCapabilities ok"
    assert str(record) in docker.reply("NetworkDriver.DeleteNetwork", NetworkID=docker_id("blue")).summary
