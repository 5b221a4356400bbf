"""An endpoint is found by what an operator knows of it, and never by less than that."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_cnm.cnm.records import EndpointRecord, load_endpoint, network_records
from cni_cnm.errors import InvalidConfig, NoSuchEndpoint
from cni_cnm.find.endpoint_names import NamedEndpoint, named
from cni_cnm.find.endpoints import find_container, find_endpoint, find_endpoints
from cni_cnm.model import NetworkSpec, Pod, PortMapping
from tests.unit.cnm.docker.dockerd import Dockerd
from tests.unit.docker_server.scripted_dockerd import ScriptedDockerd
from tests.unit.find.pods import NETWORK, Pods

OTHER = NETWORK._replace(name="other", ipam=NETWORK.ipam._replace(config={"ranges": [[{"subnet": "10.2.0.0/24"}]]}))
WEB = PortMapping("tcp", 8080, 80)
DNS = PortMapping("udp", 5300, 53, ip_address("192.0.2.1"), size=3)


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    return Pods(tmp_path)


def record(pods: Pods, endpoint_id: str) -> EndpointRecord:
    found = load_endpoint(pods.host.store, endpoint_id)
    assert found is not None
    return found


def ids(found: object) -> list[str]:
    assert isinstance(found, list)
    return [one.record.id for one in found]


def test_every_form(pods: Pods) -> None:
    """Each finds that endpoint alone, among others."""
    web = pods.add("c0ffee0001", "shop/web", ports=(WEB,), mac="02:00:00:00:00:01")
    pods.add("c0ffee0002", "shop/db", ports=(DNS,))
    one = record(pods, web)
    assert [str(address.interface.ip) for address in one.addresses] == ["10.1.0.2", "fd01::2"]
    forms = [
        web,
        web[:12],
        "c0ffee0001",
        "shop/web",
        "web",
        "podnet/c0ffee0001/eth0",
        "10.1.0.2",
        "10.1.0.2/24",
        "fd01::2",
        "FD01:0:0::2",
        "8080",
        ":8080",
        "8080/tcp",
        "192.0.2.7:8080",
        "[fd00::1]:8080/tcp",
        "02:00:00:00:00:01",
        "02-00-00-00-00-01",
        one.host_ifname,
        "/run/netns/c0ffee0001",
    ]
    assert {form: ids(find_endpoints(pods.host, form)) for form in forms} == {form: [web] for form in forms}


@pytest.mark.parametrize(
    "wanted",
    ["", "nope", "shop/nope", "other/web", "10.1.0.9", "8081", "8080/udp", "192.0.2.2:5301", "5303",
     "02:00:00:00:00:09", "/run/netns/nope", "\x1b[2J", "x" * 300, "99999", "1.2.3.4.5:80", "shop/", "/"],
)  # fmt: skip
def test_nothing_is_found(pods: Pods, wanted: str) -> None:
    pods.add("c0ffee0001", "shop/web", ports=(WEB,))
    pods.add("c0ffee0002", ports=(DNS,))
    with pytest.raises(NoSuchEndpoint, match="there is no endpoint"):
        find_endpoints(pods.host, wanted)


def test_ports_of_a_range_and_of_an_address(pods: Pods) -> None:
    db = pods.add("c0ffee0002", "shop/db", ports=(DNS,))
    for wanted in ("5300", "5302/udp", "192.0.2.1:5301"):
        assert ids(find_endpoints(pods.host, wanted)) == [db]


def test_several_are_named(pods: Pods) -> None:
    """The message has the id and the pod of each, up to five; a whole id is never several."""
    made = [pods.add(f"c{number}", f"ns{number}/web") for number in range(7)]
    assert ids(find_endpoints(pods.host, "web")) == sorted(made)
    with pytest.raises(InvalidConfig) as caught:
        find_endpoint(pods.host, "web")
    assert "'web' is the name of 7 endpoints: " in caught.value.msg
    assert caught.value.msg.endswith(" and 2 others")
    first = record(pods, min(made))
    assert f"{first.id[:12]} {first.label} ({first.pod.namespace}/web)" in caught.value.msg
    assert find_endpoint(pods.host, "ns3/web").record.container_id == "c3"
    with pytest.raises(InvalidConfig, match="'web' is the name of 7 endpoints"):
        find_container(pods.host, "web")


def test_a_container_has_all_its_endpoints(pods: Pods) -> None:
    """Also if one of its addresses is what is known of it."""
    first, second = pods.add("c1", "a/web"), pods.add("c1", "a/web", ifname="eth1", network=OTHER)
    pods.add("c2", "a/other")
    assert ids(find_container(pods.host, "a/web")) == sorted([first, second])
    assert ids(find_container(pods.host, "10.2.0.2")) == sorted([first, second])
    assert ids(find_endpoints(pods.host, "10.2.0.2")) == [second]


def test_whole_ids_come_before_beginnings(pods: Pods) -> None:
    """A container whose id is the beginning of another's, and one whose id is a port."""
    short, long = pods.add("8080"), pods.add("80801", ports=(WEB,))
    assert ids(find_endpoints(pods.host, "8080")) == [short]
    assert ids(find_endpoints(pods.host, "8080/tcp")) == [long]
    assert ids(find_endpoints(pods.host, "808")) == sorted([short, long])


def test_containers_of_nerdctl(pods: Pods) -> None:
    """By the id that nerdctl shows; runtimes of CNI are told it with nerdctl's namespace before it."""
    shown = "0123456789abcdef" * 4
    made = pods.add(f"my-ns-{shown}")
    pods.add(f"k8s.io-1{shown[1:]}")
    for wanted in (shown, shown[:12], "0123", f"my-ns-{shown}", "my-ns-"):
        assert ids(find_endpoints(pods.host, wanted)) == [made]


def test_a_number_at_the_end_of_another_name_is_no_id(pods: Pods) -> None:
    """Such as that of `cni-cnm run`: a published port of the same number is meant."""
    pods.add("run-32502-8080")
    web = pods.add("c1", ports=(WEB,))
    assert ids(find_endpoints(pods.host, "8080")) == [web]
    with pytest.raises(NoSuchEndpoint):
        find_endpoints(pods.host, "808")


def test_an_endpoint_that_has_not_joined(pods: Pods) -> None:
    """It is found by its name, and is a container by itself."""
    network = pods.controller.new_network("lib", ipam_config={"ranges": [[{"subnet": "10.3.0.0/24"}]]})
    made = [network.create_endpoint(name) for name in ("one", "two")]
    assert ids(find_container(pods.host, "one")) == [made[0].id]
    assert find_endpoint(pods.host, "two").shown == "lib/two/-"


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[tuple[Dockerd, ScriptedDockerd]]:
    docker = Dockerd(tmp_path)
    docker.network("red", "10.1.0.0/24")
    made = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(made, "box")
    host = docker.host
    host.settings = host.settings._replace(docker_api=str(tmp_path / "docker.sock"))
    (network,) = next(network_records(host.store)).docker_networks
    answers = {
        "/networks": [{"Id": network}],
        f"/networks/{network}": {"Containers": {"d" * 64: {"EndpointID": made["EndpointID"], "Name": "web-1"}}},
    }
    api = ScriptedDockerd(tmp_path / "docker.sock", answers)
    yield docker, api
    api.close()


def test_containers_of_docker(dockerd: tuple[Dockerd, ScriptedDockerd]) -> None:
    """By the name and the id that Docker has for them; by neither if it does not answer."""
    docker, api = dockerd
    host = docker.host
    for wanted in ("web-1", "d" * 64, "dddd"):
        found = find_endpoint(host, wanted)
        assert (found.container, found.container_id) == ("web-1", "d" * 64)
        assert found.shown.endswith("(web-1)")
    api.answers.clear()
    with pytest.raises(NoSuchEndpoint):
        find_endpoint(host, "web-1")
    assert find_endpoint(host, "10.1.0.2").docker.name == ""


def test_names(pods: Pods) -> None:
    """The pod, else the container's id."""
    made = [pods.add("c1", "a/web"), pods.add("c2")]
    found = {one.record.id: one for one in named(pods.host, [record(pods, one) for one in made])}
    assert [found[one].container for one in made] == ["a/web", "c2"]
    assert [found[one].shown for one in made] == ["podnet/c1/eth0 (a/web)", "podnet/c2/eth0"]
    assert NamedEndpoint(record(pods, made[1])).pod == ""


def test_null_driver(pods: Pods) -> None:
    """An endpoint without link and address is found by its container."""
    made = pods.add("c1", network=NetworkSpec("none", "null"))
    assert ids(find_endpoints(pods.host, "c1")) == [made]


def test_the_label_of_a_pod() -> None:
    """podman names its containers as pods without a namespace."""
    assert (Pod("cart-0", "shop").label, Pod("box").label, Pod(namespace="shop").label) == ("shop/cart-0", "box", "")
