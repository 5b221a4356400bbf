"""The log lines of Docker's calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.records import network_records
from cni_cnm.docker_server.calls import answer
from cni_cnm.errors import NoSuchEndpoint
from cni_cnm.frontend.reply import Subject
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


def test_what_a_call_is_about(tmp_path: Path) -> None:
    """For a log that is JSON: the network's name on record, also before it is made and after it was removed."""
    docker = Dockerd(tmp_path)
    docker.host.settings = docker.host.settings._replace(log_format="json")

    @contextmanager
    def engine() -> Iterator[Controller]:
        yield Controller(docker.host)

    def subject(call: str, **body: Any) -> tuple[Subject, int]:
        reply = answer(engine, f"NetworkDriver.{call}", json.dumps(body).encode())
        return reply.subject, reply.error

    message = docker.network_message("red", "10.1.0.0/24")
    made, code = subject("CreateNetwork", **message)
    [network] = network_records(docker.host.store)
    assert (made, code) == (Subject("NetworkDriver.CreateNetwork", network.name), 0)
    ids = {"NetworkID": docker_id("red"), "EndpointID": docker_id("a")}
    assert subject("Leave", **ids) == (Subject("NetworkDriver.Leave", network.name, endpoint=docker_id("a")), 0)
    assert subject("Join", **ids)[1] == NoSuchEndpoint.code
    assert subject("Join", NetworkID=3, EndpointID=None)[0] == Subject("NetworkDriver.Join")
    reply = answer(
        engine,
        "IpamDriver.RequestAddress",
        json.dumps({"PoolID": docker.pools["10.1.0.0/24"], "Address": "10.1.0.9"}).encode(),
    )
    assert (reply.subject.network, reply.error) == (network.name, 0)
    assert subject("DeleteNetwork", **ids)[0].network == network.name
    assert subject("DeleteNetwork", **ids)[0].network == ""
