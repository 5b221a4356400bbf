"""Calls of Docker that came while the service was down: what they should have removed does not stay for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.docker.lost_endpoints import PATIENCE_S
from cni_cnm.cnm.reconcile.reconcile import reconcile
from cni_cnm.cnm.records import endpoint_records, load_pool, pool_records
from cni_cnm.errors import ActiveEndpoints
from cni_cnm.state.store import POOLS
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id, port

SUBNET = "10.1.0.0/24"
NETWORK = f"docker-{docker_id('red')[:12]}"


@pytest.fixture
def docker(tmp_path: Path) -> Dockerd:
    made = Dockerd(tmp_path)
    made.network("red", SUBNET, "fd01::/64")
    return made


@pytest.fixture
def endpoint(docker: Dockerd) -> dict[str, str]:
    """In a container, with a published port."""
    made = docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64")
    docker.join(made, "box", "10.1.0.2/24", "fd01::2/64")
    docker.program(made, port(8080))
    return made


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`later(30)`: that many seconds have passed since the calls before."""

    def pass_by(seconds: float) -> None:
        then = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        monkeypatch.setattr(lost_endpoints, "now", lambda: then)

    return pass_by


def remove_all(docker: Dockerd, *known: str) -> list[str]:
    return list(lost_endpoints.remove_all(docker.host, lambda record: record.id in known))


def records(docker: Dockerd) -> list[str]:
    return [record.id for record in endpoint_records(docker.host.store)]


def leases(docker: Dockerd) -> list[str]:
    folder = docker.folder / "leases" / NETWORK
    return sorted(path.name for path in folder.iterdir() if path.name[0] in "1f") if folder.exists() else []


def test_the_address_of_a_container_that_is_gone_is_given_again(docker: Dockerd, endpoint: dict[str, str]) -> None:
    """Its sandbox is gone, and with it the link: the kernel shows that nothing uses the address."""
    assert "is leased to docker" in docker.request("10.1.0.2/24")["Err"]
    docker.end_sandbox("box")
    assert docker.request("10.1.0.2/24")["Address"] == "10.1.0.2/24"
    assert not records(docker)
    assert not docker.published()


def test_the_port_of_a_container_that_is_gone_is_given_again(docker: Dockerd, endpoint: dict[str, str]) -> None:
    next_one = docker.endpoint("red", "two", "10.1.0.3/24")
    docker.join(next_one, "other")
    assert "8080/tcp is already published" in docker.program(next_one, port(8080))["Err"]
    docker.end_sandbox("box")
    assert docker.program(next_one, port(8080)) == {}
    assert docker.published() == {"6 . 8080": "10.1.0.3 . 80"}
    assert records(docker) == [next_one["EndpointID"]]


def test_any_address_of_a_full_network(docker: Dockerd) -> None:
    """All of them are leased, and one container is gone."""
    docker.network("small", "10.3.0.0/30")
    made = docker.endpoint("small", "one", "10.3.0.2/30")
    docker.join(made, "box")
    docker.end_sandbox("box")
    pool = {"PoolID": docker.pools["10.3.0.0/30"], "Address": "", "Options": {}}
    assert docker.call("IpamDriver.RequestAddress", **pool)["Address"] == "10.3.0.2/30"


def test_an_address_that_was_requested_and_never_used(docker: Dockerd) -> None:
    """dockerd was killed before CreateEndpoint, which follows at once."""
    assert docker.request("10.1.0.9/24")["Address"] == "10.1.0.9/24"
    assert "is leased to docker requested" in docker.request("10.1.0.9/24")["Err"]
    lease = docker.folder / "leases" / NETWORK / "10.1.0.9"
    earlier = lease.stat().st_mtime - 100
    os.utime(lease, (earlier, earlier))
    assert docker.request("10.1.0.9/24")["Address"] == "10.1.0.9/24"


def test_a_release_that_comes_late_takes_nothing_from_the_next_container(
    docker: Dockerd, endpoint: dict[str, str]
) -> None:
    """The address is on an interface of a container."""
    docker.release("10.1.0.2/24")
    assert records(docker) == [endpoint["EndpointID"]]
    assert "10.1.0.2" in leases(docker)


def test_the_release_of_one_address_leaves_the_endpoint(docker: Dockerd) -> None:
    """Docker releases the IPv6 address of a container whose interface has IPv6 off, after Join."""
    made = docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64")
    docker.join(made, "box", "10.1.0.2/24")
    docker.release("fd01::2/64")
    assert leases(docker) == ["10.1.0.2"]
    assert docker.program(made, port(8080)) == {}
    assert docker.published(4) == {"6 . 8080": "10.1.0.2 . 80"}
    assert not docker.published(6)
    docker.leave(made)
    docker.release("10.1.0.2/24")
    assert not leases(docker)


def test_the_release_of_all_addresses_deletes_an_endpoint_that_has_not_joined(docker: Dockerd) -> None:
    docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64")
    docker.release("10.1.0.2/24")
    docker.release("fd01::2/64")
    assert not records(docker)


def test_the_service_finds_it_when_it_starts(docker: Dockerd, endpoint: dict[str, str]) -> None:
    docker.end_sandbox("box")
    [outcome] = [one for one in reconcile(docker.host) if "container" in one.sentence]
    assert outcome.result == "repaired"
    assert "its link veth" in outcome.sentence
    assert not records(docker)
    assert not leases(docker)


def test_after_a_reboot_containers_start_again(docker: Dockerd, endpoint: dict[str, str]) -> None:
    """With new ids, and the same address and port. The network is there; its bridge is made again."""
    after = Dockerd(docker.folder, "next")
    after.pools = docker.pools
    assert len(remove_all(after)) == 1
    again = after.endpoint("red", "next", "10.1.0.2/24", "fd01::2/64")
    after.join(again, "box")
    assert after.program(again, port(8080)) == {}
    assert after.published() == {"6 . 8080": "10.1.0.2 . 80"}
    assert after.host.stack.link(f"br-{docker_id('red')[:12]}") is not None
    assert records(after) == [again["EndpointID"]]


def test_a_container_that_is_gone_is_found_without_being_asked(docker: Dockerd, endpoint: dict[str, str]) -> None:
    """At once: a link that is gone does not come back. A container that Docker knows stays."""
    assert not remove_all(docker)
    docker.end_sandbox("box")
    assert not remove_all(docker, endpoint["EndpointID"])
    [said] = remove_all(docker)
    assert "its link veth" in said
    assert not records(docker)
    assert not leases(docker)


def test_a_link_on_the_host_counts_after_a_while(
    docker: Dockerd, endpoint: dict[str, str], later: Callable[[float], None]
) -> None:
    """Docker has taken it out of the sandbox. Before a container starts it is on the host, too."""
    sandbox = docker.namespaces.open("/run/docker/netns/box")
    later(PATIENCE_S + 1)
    assert not remove_all(docker)
    [link] = [one for one in sandbox.links() if one.name.startswith("eth")]
    sandbox.move_link(link.ifindex, docker.host.stack, name=f"tmp{endpoint['EndpointID'][:12]}")
    later(PATIENCE_S - 1)
    assert not remove_all(docker)
    assert "is leased to docker" in docker.request("10.1.0.2/24")["Err"]
    later(PATIENCE_S + 1)
    assert docker.request("10.1.0.2/24")["Address"] == "10.1.0.2/24"
    assert not records(docker)


def test_an_endpoint_that_never_joined_goes_after_a_while(docker: Dockerd, later: Callable[[float], None]) -> None:
    made, other = docker.endpoint("red", "one", "10.1.0.2/24"), docker.endpoint("red", "two", "10.1.0.3/24")
    later(PATIENCE_S - 1)
    assert not remove_all(docker)
    docker.join(other, "box")
    later(PATIENCE_S + 1)
    assert len(remove_all(docker)) == 1
    assert records(docker) == [other["EndpointID"]] != [made["EndpointID"]]


def test_a_network_that_docker_has_lost_is_removed_by_force(docker: Dockerd, endpoint: dict[str, str]) -> None:
    """Not while a container is on it. Nothing is left: pools, leases and their folder."""
    controller = Controller(docker.host)
    with pytest.raises(ActiveEndpoints, match="cni-cnm network rm --force"):
        controller.network(NETWORK).delete()
    with pytest.raises(ActiveEndpoints, match="has a container of Docker's"):
        controller.network(NETWORK).delete(force=True)
    docker.end_sandbox("box")
    assert controller.network(NETWORK).delete(force=True) == ()
    assert not list(controller.networks())
    assert not list(pool_records(docker.host.store))
    assert not (docker.folder / "leases" / NETWORK).exists()


def test_a_pool_that_became_no_network_is_given_again(docker: Dockerd) -> None:
    """Docker was killed after RequestPool. Not at once: another `docker network create` may be about to use it."""
    docker.pool("10.5.0.0/24")
    body = {"AddressSpace": "cni-cnm", "Pool": "10.5.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    assert "which Docker has requested already" in docker.refused("IpamDriver.RequestPool", **body)
    name = docker.pools["10.5.0.0/24"]
    record = load_pool(docker.host.store, name)
    assert record is not None
    docker.host.store.put(POOLS, name, record._replace(requested=record.requested - 1000).to_json())
    assert docker.call("IpamDriver.RequestPool", **body)["Pool"] == "10.5.0.0/24"
    assert [one.id for one in pool_records(docker.host.store) if one.subnet == "10.5.0.0/24"] == [name]


def test_a_pool_of_another_driver_stays(docker: Dockerd) -> None:
    """`--ipam-driver cni-cnm` with Docker's own bridge: no network of ours is made, and addresses are requested."""
    docker.pool("10.5.0.0/24")
    assert docker.request("10.5.0.2/24")["Address"] == "10.5.0.2/24"
    name = docker.pools["10.5.0.0/24"]
    record = load_pool(docker.host.store, name)
    assert record is not None
    docker.host.store.put(POOLS, name, record._replace(requested=0.0).to_json())
    body = {"AddressSpace": "cni-cnm", "Pool": "10.5.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    assert "which Docker has requested already" in docker.refused("IpamDriver.RequestPool", **body)


def test_the_lease_folder_goes_with_the_network(docker: Dockerd, endpoint: dict[str, str]) -> None:
    docker.leave(endpoint)
    docker.release("10.1.0.2/24")
    docker.release("fd01::2/64")
    assert (docker.folder / "leases" / NETWORK).exists()
    docker.call("NetworkDriver.DeleteNetwork", NetworkID=docker_id("red"))
    assert not (docker.folder / "leases" / NETWORK).exists()
