"""Public verbs of the library leave no descriptor open: a forgotten one keeps a container's namespace, and its veth."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.errors import CnmError
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, NetworkSpec, PortMapping
from cni_cnm.settings import Settings
from cni_cnm.wiring import open_controller
from tests.conftest import remove_namespace
from tests.waiting import until

SUBNET = {"subnet": "10.77.0.0/24"}
OTHER_SUBNET = {"subnet": "10.78.0.0/24"}


def count() -> int:
    """Without those of objects of earlier tests that refer to each other."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(str(tmp_path / "run"), str(tmp_path / "state"), str(tmp_path / "leases"), "none")


@pytest.fixture
def controller(host: KernelStack, settings: Settings) -> Iterator[Controller]:
    nft = KernelNft()
    made = open_controller(settings, nft=lambda: nft)
    yield made
    made.close()


def leaves_none(cycle: Callable[[], None], times: int) -> None:
    """The first cycle opens what is kept on purpose: the host's socket, the packet filter's."""
    cycle()
    before = count()
    for _ in range(times):
        cycle()
    assert count() == before


@pytest.mark.parametrize("times", [10, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_joins_and_leaves(controller: Controller, netns: str, times: int) -> None:
    endpoint = controller.new_network("one", ipam_config=SUBNET).create_endpoint("web")
    sandbox = controller.new_sandbox("c1", netns)

    def cycle() -> None:
        endpoint.join(sandbox)
        endpoint.leave()

    leaves_none(cycle, times)


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
def test_the_default_gateway_moves(controller: Controller, netns: str, times: int) -> None:
    """The endpoint that leaves held the default route, so the sandbox is entered to give it to the next one."""
    kept = controller.new_network("two", ipam_config=OTHER_SUBNET).create_endpoint("kept")
    moving = controller.new_network("one", ipam_config=SUBNET).create_endpoint("moving")
    sandbox = controller.new_sandbox("c1", netns)
    kept.join(sandbox)

    def cycle() -> None:
        moving.join(sandbox)
        assert sandbox.gateways() == {4: moving.id}
        moving.leave()
        assert sandbox.gateways() == {4: kept.id}

    leaves_none(cycle, times)


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
def test_joins_that_fail(controller: Controller, netns: str, times: int) -> None:
    endpoint = controller.new_network("one", ipam_config=SUBNET).create_endpoint("web")
    sandbox = controller.new_sandbox("c1", netns)
    stack = controller.namespaces.open(netns)
    stack.add_bridge("eth7", mac="02:00:00:00:00:07")
    stack.close()

    def cycle() -> None:
        with pytest.raises(CnmError):
            endpoint.join(sandbox, ifname="eth7")

    leaves_none(cycle, times)


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_every_other_verb(host: KernelStack, settings: Settings, netns: str, times: int) -> None:
    """One controller a cycle: networks, sandboxes and endpoints made, listed, looked up and deleted, CNI's verbs."""
    nft = KernelNft()
    spec = NetworkSpec("cni", "bridge", {}, IpamSpec("host-local", {"subnet": "10.79.0.0/24"}))
    key = EndpointKey("cni", "c2", "net1")
    pod = EndpointSpec("c2", "net1", netns, "test", ports=(PortMapping("tcp", 8077, 80),))

    def cycle() -> None:
        controller = open_controller(settings, nft=lambda: nft)
        first = controller.new_network("one", ipam_config=SUBNET)
        second = controller.new_network("two", ipam_config=OTHER_SUBNET)
        controller.allow("one", "two")
        controller.revoke("one", "two")
        sandbox = controller.new_sandbox("c1", netns)
        endpoint = first.create_endpoint("web")
        endpoint.join(sandbox)
        assert [one.name for one in first.endpoints()] == ["web"]
        assert first.endpoint("web").attachment.interfaces
        assert endpoint.info() == {}
        assert controller.network(first.id[:12]).name == "one"
        assert [one.container_id for one in controller.sandboxes()] == ["c1"]
        assert [one.id for one in controller.sandbox("c1").endpoints()] == [endpoint.id]
        endpoint.leave()
        sandbox.delete()
        endpoint.delete()
        attachment = controller.attach(spec, pod)
        controller.check(spec, pod, attachment)
        controller.status(spec, exhausted_is_error=False)
        assert controller.families(spec, pod) == (4,)
        controller.collect(spec, "test", [key], {})
        controller.detach(key, pod, spec.ipam)
        controller.detach(key, pod, spec.ipam)
        controller.attach(spec, pod)
        controller.collect(spec, "test", [], {})
        for network in (first, second, controller.network("cni")):
            network.delete()
        controller.close()

    leaves_none(cycle, times)


def test_a_closed_controller_has_none(host: KernelStack, settings: Settings, netns: str) -> None:
    """The end of the block closes the sockets of netlink, nftables and connection tracking."""
    before = count()
    with open_controller(settings) as controller:
        network = controller.new_network("one", ipam_config=SUBNET)
        endpoint = network.create_endpoint("web", ports=["8077:80"])
        endpoint.join(controller.new_sandbox("c1", netns))
        endpoint.delete(force=True)
        network.delete()
        assert count() > before
    assert count() == before + 1, "the descriptor of the host's namespace is the only one"
    del controller, network, endpoint
    assert count() == before


def test_the_namespace_ends_with_its_container(controller: Controller, make_netns: Callable[[str], str]) -> None:
    """Once the runtime has removed the namespace nothing holds it: the kernel takes the veth away by itself."""
    path = make_netns("short-lived")
    endpoint = controller.new_network("one", ipam_config=SUBNET).create_endpoint("web")
    endpoint.join(controller.new_sandbox("c1", path))
    port = endpoint.record.device.host[-1].name if endpoint.record.device else ""
    assert controller.host.stack.link(port) is not None
    remove_namespace(path)
    until(lambda: controller.host.stack.link(port) is None, "the kernel's work queue ends it")
