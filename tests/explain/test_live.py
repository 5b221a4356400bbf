"""`explain --live`: the trace of real packets, and nothing of it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.errors import InvalidConfig, TryAgain
from cni_cnm.explain.live import NOT_SEEN, PASSED, SEEN_DROPPED, Seen, send, traced_flow, watch
from cni_cnm.explain.question import Asked, questions
from cni_cnm.explain.world import World
from cni_cnm.kernel.nftables.nft_trace import TABLE, KernelPacketTrace
from cni_cnm.wiring import open_controller
from tests.explain.lab import PORT, ExplainLab
from tests.explain.topology import network
from tests.waiting import until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainLab]:
    """Two networks that are not allowed to each other; pod1 publishes a port."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = ExplainLab(tmp_path_factory.mktemp("live"))
    made.attach("pod1", network("own", 1), [{"hostPort": 8001, "containerPort": PORT, "protocol": "udp"}])
    made.attach("pod2", network("own", 2))
    made.listen()
    yield made
    made.close()


def seen(lab: ExplainLab, what: str, *, sends: bool = True, timeout_s: float = 5, **asked: Any) -> Seen:
    def ask() -> Seen:
        controller = open_controller(lab.settings)
        try:
            with World(controller.host) as world:
                question = questions(world, controller.host, Asked(what, **asked))[0]
                with KernelPacketTrace(traced_flow(question)) as trace:
                    if sends:
                        send(question)
                    return watch(world, question, trace, timeout_s)
        finally:
            controller.close()

    return lab.host.call(ask)


@pytest.mark.parametrize("protocol", ["icmp", "udp", "tcp"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_a_rule_drops(lab: ExplainLab, protocol: str, version: int) -> None:
    """The rule that dropped it is the last step, in words; no table is left."""
    address = lab.addresses["pod2", version]
    to = address if protocol == "icmp" else f"[{address}]:80"
    found = seen(lab, "pod1", to=to, protocol=protocol, version=version)
    assert found.outcome == SEEN_DROPPED
    assert "iifname @networks oifname @networks" in found.steps[-1].text
    assert TABLE not in lab.host.run("nft", "list", "tables")


def test_a_packet_that_passes(lab: ExplainLab) -> None:
    """To a published port: the translation and the acceptance are steps."""
    found = seen(lab, "8001", sender="pod2", protocol="udp")
    assert found.outcome == PASSED
    told = [step.text for step in found.steps]
    assert any("dnat to" in text for text in told), told
    assert any("ct status dnat" in text for text in told), told


def test_a_packet_that_does_not_come(lab: ExplainLab) -> None:
    """It says how long it has waited."""
    found = seen(lab, "pod1", sends=False, timeout_s=0.05, to="pod2")
    assert found.outcome == NOT_SEEN
    assert "0.05 s" in found.sentence


def test_nothing_is_sent_for_a_sender_outside(lab: ExplainLab) -> None:
    """Only namespaces of this host can be sent from."""
    with pytest.raises(InvalidConfig, match="outside this host"):
        seen(lab, "8001")


def test_two_traces_at_once(lab: ExplainLab) -> None:
    """The second is told of the first, and to come again; the first is not disturbed."""

    def ask() -> None:
        controller = open_controller(lab.settings)
        try:
            with World(controller.host) as world:
                flow = traced_flow(questions(world, controller.host, Asked("pod1", to="pod2"))[0])
                with KernelPacketTrace(flow):
                    with pytest.raises(TryAgain, match="another `cni-cnm explain --live`"):
                        KernelPacketTrace(flow)
                    assert TABLE in lab.host.run("nft", "list", "tables")
                with KernelPacketTrace(flow):
                    pass
        finally:
            controller.close()

    lab.host.call(ask)


def test_a_trace_that_is_killed(lab: ExplainLab) -> None:
    """The table goes with the process, also after SIGKILL."""
    config = lab.folder / "config.toml"
    config.write_text(f'run_dir = "{lab.folder}/run"\nstate_dir = "{lab.folder}/state"\n')
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "cni_cnm", "explain", "pod1", "--to", "pod2", "--live"]
    child = subprocess.Popen(
        ["nsenter", f"--net={lab.host.path}", *command],
        env={"CNI_CNM_CONFIG": str(config), "PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: TABLE in lab.host.run("nft", "list", "tables"), "the trace is set up", 10)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    until(lambda: TABLE not in lab.host.run("nft", "list", "tables"), "the table is gone")
