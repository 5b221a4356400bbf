"""One controller, used by many threads at once, on the real kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.errors import CnmError
from cni_cnm.kernel.stack import KernelStack
from cni_cnm.model import PortMapping
from cni_cnm.settings import Settings
from cni_cnm.wiring import open_controller
from tests.kernel.test_descriptors import count

THREADS, ENDPOINTS = 16, 200


@pytest.fixture
def controller(host: KernelStack, tmp_path: Path) -> Iterator[Controller]:
    settings = Settings(str(tmp_path / "run"), str(tmp_path / "state"), str(tmp_path / "leases"), "none")
    made = open_controller(settings)
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def test_endpoints_of_many_threads(
    controller: Controller, threads: ThreadPoolExecutor, host: KernelStack, make_netns: Callable[[str], str]
) -> None:
    """Each joins with an address and a port of its own; all are taken down the same way, and nothing is left."""
    network = controller.new_network("one", ipam_config={"subnet": "10.77.0.0/16"})
    paths = [make_netns(f"c{number}") for number in range(ENDPOINTS)]

    def attach(number: int) -> Endpoint:
        endpoint = network.create_endpoint(f"e{number}", ports=(PortMapping("tcp", 20000 + number, 80),))
        endpoint.join(controller.new_sandbox(f"c{number}", paths[number]))
        return endpoint

    endpoints = list(threads.map(attach, range(ENDPOINTS)))
    assert Counter(endpoint.record.state for endpoint in network.endpoints()) == {"ready": ENDPOINTS}
    assert len({str(endpoint.addresses[0].interface) for endpoint in endpoints}) == ENDPOINTS
    bridge = host.link(f"br-{network.id[:12]}")
    assert bridge is not None
    assert len(host.links(master=bridge.ifindex)) == ENDPOINTS

    def detach(endpoint: Endpoint) -> None:
        endpoint.leave()
        endpoint.delete()

    list(threads.map(detach, endpoints))
    assert list(network.endpoints()) == []
    network.delete()
    assert [link.name for link in host.links()] == ["lo"]


def test_the_same_thing_is_made_once(controller: Controller, threads: ThreadPoolExecutor, netns: str) -> None:
    """All threads ask for one network, one endpoint, one sandbox and one join: one gets it, the others are refused."""

    def once(step: Callable[[], object]) -> None:
        def attempt(_: int) -> str:
            try:
                step()
            except CnmError as error:
                return type(error).__name__
            return "made"

        found = Counter(threads.map(attempt, range(THREADS)))
        assert found["made"] == 1, found
        assert set(found) <= {"made", "Conflict", "Forbidden"}, found

    once(lambda: controller.new_network("one", ipam_config={"subnet": "10.77.0.0/16"}))
    network = controller.network("one")
    once(lambda: network.create_endpoint("web"))
    once(lambda: controller.new_sandbox("c1", netns))
    endpoint = network.endpoint("web")
    once(lambda: endpoint.join(controller.sandbox("c1")))
    assert endpoint.record.state == "ready"


def test_close_ends_what_all_threads_have_opened(controller: Controller, threads: ThreadPoolExecutor) -> None:
    """The controller opens again what it needs, for any thread."""
    controller.new_network("one", ipam_config={"subnet": "10.77.0.0/16"}).delete()
    controller.close()
    before = count()
    for _ in range(3):
        list(threads.map(lambda _: controller.host.stack.links(), range(5 * THREADS)))
        controller.close()
    assert count() == before
