"""The Docker frontend on networks of Docker's own, driven by a real dockerd: what the seed's plugin got wrong."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from tests.system.docker_host import OURS, PLUGIN_SOCKET, DockerHost, docker_host
from tests.system.dockerd import EVERY_RELEASE
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=EVERY_RELEASE)
def host(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DockerHost]:
    with docker_host(tmp_path_factory.mktemp("docker"), release=request.param) as host:
        yield host


@pytest.fixture
def clean(host: DockerHost) -> Iterator[DockerHost]:
    """Afterwards nothing may be left of what the test removed from Docker, and of what it did not."""
    yield host
    containers = host.dockerd("ps", "-aq").split()
    if containers:
        host.dockerd.remove(*containers)
    for network in host.dockerd("network", "ls", "-q", "--filter", "type=custom").split():
        host.dockerd("network", "rm", network)
    assert not host.records()
    assert not host.elements()
    assert not {link for link in host.node.links() if link.startswith(("veth", "br-", "tmp"))}


def reaches(host: DockerHost, container: str, url: str) -> bool:
    """Whether a web server answers, even if only that it has no such page."""
    done = host.dockerd.execute(container, "wget", "-O-", url)
    return done.code == 0 or "404" in done.err


def from_host(host: DockerHost, url: str) -> bool:
    done = host.node.run("busybox", "wget", "-O-", url)
    return done.code == 0 or "404" in done.err


def test_containers_reach_each_other_and_the_gateway_by_one_interface(clean: DockerHost) -> None:
    """Faults 1, 2, 3: the host's end is up, the gateway is the bridge's address, the default route is ours."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.0.0/24", "mynet")
    assert "cni-cnm" in docker("network", "ls", "--filter", "name=mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet")
    assert docker.ping("one", "two")
    assert docker.ping("two", "172.30.0.1")
    netns = docker.netns("one")
    assert clean.node.links(netns=netns) == {"lo", "eth0"}
    assert clean.node.ip("route", "show", "default", netns=netns)[0]["gateway"] == "172.30.0.1"
    bridge = f"br-{docker.inspect('network', 'mynet')['Id'][:12]}"
    assert clean.node.addresses(bridge) == {"172.30.0.1/24"}


def test_inspect_shows_mac_and_addresses(clean: DockerHost) -> None:
    """Fault 4."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.1.0/24", "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet", "--ip", "172.30.1.77", "--mac-address", "02:42:0a:0b:0c:0d")
    attached = {c["Name"]: c for c in docker.inspect("network", "mynet")["Containers"].values()}
    link = clean.node.ip("link", "show", "eth0", netns=docker.netns("one"))[0]
    assert attached["one"]["MacAddress"] == link["address"]
    assert attached["two"]["MacAddress"] == "02:42:0a:0b:0c:0d"
    listed = clean.node.run(str(clean.program), "endpoint", "ls").ok().out.splitlines()
    assert {line.split()[2] for line in listed[1:]} == {"one", "two"}
    network = docker.inspect("network", "mynet")
    (ours,) = json.loads(clean.node.run(str(clean.program), "network", "inspect", "mynet").ok().out)
    assert (ours["Containers"], ours["docker"]) == (network["Containers"], ["mynet"])
    assert ours["IPAM"]["Config"] == [{"Subnet": "172.30.1.0/24", "Gateway": "172.30.1.1"}]
    (sandbox,) = json.loads(clean.node.run(str(clean.program), "sandbox", "inspect", "two").ok().out)
    two = docker.inspect("two")["NetworkSettings"]
    assert (sandbox["Name"], sandbox["State"], sandbox["SandboxKey"]) == ("two", "ready", two["SandboxKey"])
    (shown,) = sandbox["Networks"].values()
    same = ("EndpointID", "IPAddress", "IPPrefixLen", "Gateway", "MacAddress", "GlobalIPv6Address")
    assert {key: shown[key] for key in same} == {key: two["Networks"]["mynet"][key] for key in same}
    assert attached["two"]["IPv4Address"] == "172.30.1.77/24"
    assert "is leased to" in docker.refused("run", "--rm", "--net=mynet", "--ip", "172.30.1.77", "box", "true")


def test_a_container_keeps_its_mac_and_address_when_it_is_started_again(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.2.0/24", "mynet")
    docker.start("one", "--net=mynet", "--ip", "172.30.2.9")
    before = docker.inspect("one")["NetworkSettings"]["Networks"]["mynet"]
    docker("restart", "-t0", "one")
    after = docker.inspect("one")["NetworkSettings"]["Networks"]["mynet"]
    assert before["EndpointID"] != after["EndpointID"]
    assert (before["MacAddress"], before["IPAddress"]) == (after["MacAddress"], after["IPAddress"])


def test_published_ports_are_reached_and_reported(clean: DockerHost) -> None:
    """From the host, from a neighbour and from the container itself; chosen ones too; none after the container."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.3.0/24", "mynet")
    docker.start("web", "--net=mynet", "-p", "8080:80", "-p", "81", command=("httpd", "-f", "-p", "80"))
    docker.start("other", "--net=mynet")
    until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")
    assert reaches(clean, "other", "http://172.30.3.1:8080/")
    assert reaches(clean, "web", "http://172.30.3.1:8080/")
    network = docker.inspect("network", "mynet")["Id"]
    endpoint = docker.inspect("web")["NetworkSettings"]["Networks"]["mynet"]["EndpointID"]
    info = clean.call("NetworkDriver.EndpointOperInfo", {"NetworkID": network, "EndpointID": endpoint})["Value"]
    ports = {port["Port"]: port["HostPort"] for port in info["com.docker.network.portmap"]}
    assert ports[80] == 8080
    assert ports[81] > 1023
    error = docker.refused("run", "-d", "--name", "late", "--net=mynet", "-p", "8080:80", "box")
    assert "8080/tcp is already published" in error
    docker.remove("web", "late")
    assert not from_host(clean, "http://127.0.0.1:8080/")


def test_all_exposed_ports_are_published_on_free_ones(clean: DockerHost) -> None:
    """`-P`: each at a free port of the host, which is reported; 20.10 asks, but does not show it."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.18.0/24", "mynet")
    docker.start("web", "--net=mynet", "-P", "--expose=80", "--expose=53/udp", command=("httpd", "-f", "-p", "80"))
    network = docker.inspect("network", "mynet")["Id"]
    endpoint = docker.inspect("web")["NetworkSettings"]["Networks"]["mynet"]["EndpointID"]
    info = clean.call("NetworkDriver.EndpointOperInfo", {"NetworkID": network, "EndpointID": endpoint})["Value"]
    ports = {(port["Proto"], port["Port"]): port["HostPort"] for port in info["com.docker.network.portmap"]}
    assert set(ports) == {(6, 80), (17, 53)}
    until(lambda: from_host(clean, f"http://127.0.0.1:{ports[6, 80]}/"), "the published port answers")
    shown = docker("port", "web")
    assert not shown or str(ports[6, 80]) in shown


def test_an_address_is_chosen_when_connecting(clean: DockerHost) -> None:
    """`network connect --ip`; disconnected by force from a container that is stopped, too."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.19.0/24", "mynet")
    docker.start("one", "--net=none")
    docker("network", "disconnect", "none", "one")
    docker("network", "connect", "--ip", "172.30.19.77", "mynet", "one")
    assert docker.address("one", "mynet") == "172.30.19.77"
    assert docker.ping("one", "172.30.19.1")
    docker("stop", "-t0", "one")
    network = f"docker-{docker.inspect('network', 'mynet')['Id'][:12]}"
    assert not clean.leases(network)
    docker("network", "disconnect", "--force", "mynet", "one")


def test_a_port_that_a_process_of_the_host_holds_is_refused(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.4.0/24", "mynet")
    holder = clean.popen("busybox", "nc", "-ll", "-p", "9090", "-e", "cat")
    try:
        until(lambda: clean.node.run("ss", "-Hltn", "sport = :9090").out.strip(), "a process listens")
        assert "9090/tcp is in use" in docker.refused("run", "-d", "--net=mynet", "-p", "9090:80", "box")
    finally:
        holder.kill()
        holder.wait()


def test_options_of_the_bridge_driver_are_honoured(clean: DockerHost) -> None:
    """Fault 10: mtu, the bridge's name, icc."""
    docker = clean.dockerd
    options = {"driver.mtu": "1400", "bridge.name": "br-mine", "bridge.enable_icc": "false"}
    flags = [text for key, value in options.items() for text in ("-o", f"com.docker.network.{key}={value}")]
    docker("network", "create", *OURS, "--subnet", "172.30.5.0/24", *flags, "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet")
    assert clean.node.addresses("br-mine") == {"172.30.5.1/24"}
    assert clean.node.ip("link", "show", "eth0", netns=docker.netns("one"))[0]["mtu"] == 1400
    assert docker.ping("one", "172.30.5.1")
    assert not docker.ping("one", docker.address("two", "mynet"), wait=1)
    error = docker.refused("network", "create", *OURS, "-o", "colour=red", "other")
    assert "colour is not known" in error
    assert "bridge.nonsense" in docker.refused(
        "network", "create", *OURS, "-o", "com.docker.network.bridge.nonsense=1", "other"
    )


def test_an_internal_network_has_no_way_out(clean: DockerHost) -> None:
    """No default route, no second interface, nothing published; neighbours and the host are reached."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--internal", "--subnet", "172.30.6.0/24", "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet")
    netns = docker.netns("one")
    assert clean.node.links(netns=netns) == {"lo", "eth0"}
    assert not clean.node.ip("route", "show", "default", netns=netns)
    assert docker.ping("one", "two")
    docker.start("web", "--net=mynet", "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
    until(lambda: reaches(clean, "one", f"http://{docker.address('web', 'mynet')}/"), "the neighbour answers")
    assert not from_host(clean, "http://127.0.0.1:8080/")
    assert not clean.node.run("nft", "list", "map", "inet", "cni_cnm", "ports4").out.count("8080")


def test_ipv6(clean: DockerHost) -> None:
    docker = clean.dockerd
    subnets = ("--subnet", "172.30.7.0/24", "--subnet", "fd00:7::/64")
    docker("network", "create", *OURS, "--ipv6", *subnets, "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet", "--ip6", "fd00:7::99")
    assert docker.address("two", "mynet", family=6) == "fd00:7::99"
    assert docker.execute("one", "ping6", "-c1", "-W3", "fd00:7::99").code == 0
    assert docker.execute("one", "ping6", "-c1", "-W3", "fd00:7::1").code == 0
    assert clean.node.ip("-6", "route", "show", "default", netns=docker.netns("one"))[0]["gateway"] == "fd00:7::1"


def test_connect_and_disconnect_a_running_container(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.8.0/24", "red")
    docker("network", "create", *OURS, "--subnet", "172.30.9.0/24", "blue")
    docker.start("one", "--net=red")
    docker.start("two", "--net=blue")
    assert not docker.ping("one", docker.address("two", "blue"), wait=1), "networks are isolated from each other"
    docker("network", "connect", "blue", "one")
    assert clean.node.links(netns=docker.netns("one")) == {"lo", "eth0", "eth1"}
    assert docker.ping("one", docker.address("two", "blue"))
    docker("network", "disconnect", "blue", "one")
    assert clean.node.links(netns=docker.netns("one")) == {"lo", "eth0"}


def test_without_a_subnet_each_network_gets_another_one(clean: DockerHost) -> None:
    """An IPAM that answers the same pool again makes Docker ask for ever; two at once get different ones, too."""
    docker = clean.dockerd
    names = [f"net{n}" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: docker("network", "create", *OURS, name), names))
    subnets = {docker.inspect("network", name)["IPAM"]["Config"][0]["Subnet"] for name in names}
    assert len(subnets) == 4


def test_a_subnet_that_a_network_has_is_refused(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.10.0/24", "mynet")
    assert "overlaps" in docker.refused("network", "create", *OURS, "--subnet", "172.30.10.128/25", "other")
    ours = ("--driver", "cni-cnm", "--subnet", "172.30.10.0/24")
    assert "overlaps" in docker.refused("network", "create", *ours, "other")


def test_gateway_range_and_reserved_addresses(clean: DockerHost) -> None:
    docker = clean.dockerd
    subnet = ("--subnet", "172.30.11.0/24", "--gateway", "172.30.11.254", "--ip-range", "172.30.11.64/28")
    docker("network", "create", *OURS, *subnet, "--aux-address", "printer=172.30.11.65", "mynet")
    for name in ("one", "two"):
        docker.start(name, "--net=mynet")
    given = [docker.address(name, "mynet") for name in ("one", "two")]
    assert given == ["172.30.11.64", "172.30.11.66"]
    assert docker.ping("one", "172.30.11.254")
    network = f"docker-{docker.inspect('network', 'mynet')['Id'][:12]}"
    assert clean.leases(network)["172.30.11.65"] == "docker\r\nreserved"


def test_our_driver_with_dockers_own_addresses(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", "--driver", "cni-cnm", "--subnet", "172.30.12.0/24", "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet")
    assert docker.ping("one", "two")
    assert docker.ping("one", "172.30.12.1")


def test_our_addresses_with_dockers_own_driver(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", "--ipam-driver", "cni-cnm", "--subnet", "172.30.13.0/24", "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet", "--ip", "172.30.13.50")
    assert docker.ping("one", "two")
    assert set(clean.leases("docker-172.30.13.0-24")) == {docker.address("one", "mynet"), "172.30.13.50"}


def test_an_address_pool_of_zero_is_refused(clean: DockerHost) -> None:
    error = clean.dockerd.refused("network", "create", "--driver", "cni-cnm", "--ipam-driver", "null", "mynet")
    assert "needs a subnet" in error


def test_many_containers_at_once_get_different_addresses(clean: DockerHost) -> None:
    """Fault 8."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.14.0/24", "mynet")
    names = [f"c{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: docker.start(name, "--net=mynet"), names))
    addresses = {docker.address(name, "mynet") for name in names}
    assert len(addresses) == 8
    network = f"docker-{docker.inspect('network', 'mynet')['Id'][:12]}"
    holders = clean.leases(network)
    assert set(holders) == addresses
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(docker.remove, names))
    assert not clean.leases(network)


def test_two_at_once_for_one_host_port(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.15.0/24", "mynet")
    with ThreadPoolExecutor(2) as pool:
        run = ("run", "-d", "--net=mynet", "-p", "7070:80", "box")
        done = list(pool.map(lambda _: docker.try_(*run), range(2)))
    assert sorted(bool(one.code) for one in done) == [False, True]


def test_a_deleted_network_that_docker_forgets_is_reconciled(clean: DockerHost) -> None:
    """Docker takes no no for an answer to DeleteNetwork: what its endpoints left goes with it."""
    network, endpoint = "a" * 64, "b" * 64
    options = {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": {}}
    data = [{"AddressSpace": "LocalDefault", "Pool": "172.30.16.0/24", "Gateway": "172.30.16.1/24"}]
    clean.call("NetworkDriver.CreateNetwork", {"NetworkID": network, "Options": options, "IPv4Data": data})
    interface = {"Address": "172.30.16.5/24", "AddressIPv6": "", "MacAddress": ""}
    where = {"NetworkID": network, "EndpointID": endpoint}
    clean.call("NetworkDriver.CreateEndpoint", {**where, "Interface": interface, "Options": {}})
    clean.call("NetworkDriver.Join", {**where, "SandboxKey": "/run/docker/netns/gone", "Options": {}})
    assert clean.records()
    clean.call("NetworkDriver.DeleteNetwork", {"NetworkID": network})
    for _ in range(2):
        for call in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
            clean.call(f"NetworkDriver.{call}", where)
        clean.call("NetworkDriver.DeleteNetwork", {"NetworkID": network})


def test_steps_that_come_twice_are_the_same_step(clean: DockerHost) -> None:
    """Program on a role change, Join and CreateEndpoint after a broken connection."""
    network, endpoint = "c" * 64, "d" * 64
    data = [{"AddressSpace": "LocalDefault", "Pool": "172.30.17.0/24", "Gateway": "172.30.17.1/24"}]
    where = {"NetworkID": network, "EndpointID": endpoint}
    ports = [{"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 0, "HostPortEnd": 0}]
    options = {"com.docker.network.portmap": ports}
    seen = []
    for _ in range(2):
        clean.call("NetworkDriver.CreateNetwork", {"NetworkID": network, "Options": {}, "IPv4Data": data})
    for _ in range(2):
        body = {**where, "Interface": {"Address": "172.30.17.5/24"}, "Options": options}
        seen.append(clean.call("NetworkDriver.CreateEndpoint", body))
    assert seen[0] == seen[1]
    for _ in range(2):
        joined = clean.call("NetworkDriver.Join", {**where, "SandboxKey": "/run/docker/netns/x", "Options": options})
        assert joined["InterfaceName"]["SrcName"] in clean.node.links()
    for _ in range(2):
        clean.call("NetworkDriver.ProgramExternalConnectivity", {**where, "Options": options})
        seen.append(clean.call("NetworkDriver.EndpointOperInfo", where))
    assert seen[2] == seen[3]
    assert json.dumps(seen[2]).count('HostPort":') == 1
    clean.call("NetworkDriver.Leave", where)
    assert "com.docker.network.portmap" not in clean.call("NetworkDriver.EndpointOperInfo", where)["Value"]
    clean.call("NetworkDriver.DeleteEndpoint", where)
    clean.call("NetworkDriver.DeleteNetwork", {"NetworkID": network})


def test_a_published_port_is_held(clean: DockerHost) -> None:
    """A process of the host that wants it is refused, also after the service was killed, until the container ends."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.23.0/24", "mynet")
    docker.start("web", "--net=mynet", "-p", "8080:80", "-p", "5353:53/udp", command=("httpd", "-f", "-p", "80"))

    def bound(*options: str) -> bool:
        code = "import socket, sys; s = socket.socket(type=int(sys.argv[1])); s.bind(('', int(sys.argv[2])))"
        return clean.node.run(sys.executable, "-c", code, *options).code == 0

    for _ in range(2):
        until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")
        assert not bound("1", "8080")
        assert not bound("2", "5353")
        assert bound("2", "8080")
        clean.stop_service(signal.SIGKILL)
        clean.node.path(PLUGIN_SOCKET).unlink()
        clean.serve()
        clean.call("NetworkDriver.GetCapabilities", {})
    docker.remove("web")
    assert bound("1", "8080")
    assert bound("2", "5353")


def test_a_port_stays_with_a_container_that_is_connected_to_another_network(clean: DockerHost) -> None:
    """Whichever of the two networks Docker makes the gateway; and when it is disconnected again."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.24.0/24", "middle")
    docker("network", "create", *OURS, "--subnet", "172.30.25.0/24", "another")
    docker("network", "create", *OURS, "--subnet", "172.30.26.0/24", "zone")
    docker.start("web", "--net=middle", "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
    for network in ("zone", "another"):
        docker("network", "connect", network, "web")
        until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")
        docker("network", "disconnect", network, "web")
        until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")


def test_any_subnet_of_a_size(clean: DockerHost) -> None:
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "0.0.0.0/27", "mynet")
    [gateway] = clean.node.addresses(f"br-{docker.inspect('network', 'mynet')['Id'][:12]}")
    assert gateway.endswith("/27")
    docker.start("one", "--net=mynet")
    assert docker.ping("one", gateway.partition("/")[0])


def test_a_subnet_of_two_addresses(clean: DockerHost, request: pytest.FixtureRequest) -> None:
    """RFC 3021: the bridge has the first address, one container the second. So does Docker's own driver of 29."""
    docker = clean.dockerd
    found = []
    drivers = (OURS, ()) if "[29]" in request.node.name else (OURS,)
    for subnet, driver in zip(("172.30.34.0/31", "172.30.34.2/31"), drivers, strict=False):
        docker("network", "create", *driver, "--subnet", subnet, "mynet")
        docker.start("one", "--net=mynet")
        [gateway] = clean.node.addresses(f"br-{docker.inspect('network', 'mynet')['Id'][:12]}")
        base, address = ip_network(subnet)[0], docker.address("one", "mynet")
        found.append((int(ip_interface(gateway).ip) - int(base), int(ip_address(address)) - int(base)))
        assert docker.ping("one", gateway.partition("/")[0])
        assert clean.node.ping(address)
        assert docker.try_("run", "--net=mynet", "box", "true").code
        docker.remove(*docker("ps", "-aq").split())
        docker("network", "rm", "mynet")
    assert set(found) == {(0, 1)}


def test_a_subnet_of_two_addresses_of_each_ip_version(clean: DockerHost) -> None:
    """The gateway may be the other one. The container is reached on its port, and has its addresses again."""
    docker = clean.dockerd
    four = ("--subnet", "172.30.34.4/31", "--gateway", "172.30.34.5")
    docker("network", "create", *OURS, *four, "--ipv6", "--subnet", "fd00:34::/127", "mynet")
    docker.start("web", "--net=mynet", "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
    until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")
    assert docker.execute("web", "ping6", "-c1", "-W3", "fd00:34::").code == 0
    docker("restart", "-t0", "web")
    assert (docker.address("web", "mynet"), docker.address("web", "mynet", family=6)) == ("172.30.34.4", "fd00:34::1")
    until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")


def test_another_default_gateway_than_the_bridge(clean: DockerHost) -> None:
    docker = clean.dockerd
    gateways = ("--gateway", "172.30.28.2", "--aux-address", "DefaultGatewayIPv4=172.30.28.1")
    docker("network", "create", *OURS, "--subnet", "172.30.28.0/24", *gateways, "mynet")
    docker.start("one", "--net=mynet")
    bridge = f"br-{docker.inspect('network', 'mynet')['Id'][:12]}"
    assert clean.node.addresses(bridge) == {"172.30.28.2/24"}
    [default] = clean.node.ip("route", "show", "default", netns=docker.netns("one"))
    assert default["gateway"] == "172.30.28.1"
    assert docker.address("one", "mynet") == "172.30.28.3"


def test_an_isolated_network_has_no_address_on_the_host(clean: DockerHost) -> None:
    docker = clean.dockerd
    mode = ("--internal", "-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated")
    docker("network", "create", *OURS, "--subnet", "172.30.29.0/24", *mode, "mynet")
    docker.start("one", "--net=mynet")
    docker.start("two", "--net=mynet")
    bridge = f"br-{docker.inspect('network', 'mynet')['Id'][:12]}"
    assert not clean.node.addresses(bridge)
    assert docker.ping("one", docker.address("two", "mynet"))


def test_a_container_without_ipv6_on_a_network_with_it(clean: DockerHost, request: pytest.FixtureRequest) -> None:
    """Docker releases the IPv6 address on the way; the container keeps IPv4, with its ports."""
    docker = clean.dockerd
    subnets = ("--subnet", "172.30.30.0/24", "--subnet", "fd00:30::/64")
    docker("network", "create", *OURS, "--ipv6", *subnets, "mynet")
    sysctls = "com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=1"
    off = (f"--network=name=mynet,driver-opt={sysctls}",) if "[29]" in request.node.name else (
        "--net=mynet", "--sysctl=net.ipv6.conf.all.disable_ipv6=1",
    )  # fmt: skip
    docker.start("web", *off, "-p", "8080:80", command=("httpd", "-f", "-p", "80"))
    until(lambda: from_host(clean, "http://127.0.0.1:8080/"), "the published port answers")


def test_ipv6_where_new_links_have_none(clean: DockerHost) -> None:
    """The host's default for new links is off: bridge and container have IPv6 all the same."""
    docker = clean.dockerd
    default = "net.ipv6.conf.default.disable_ipv6"
    clean.node.run("sysctl", "-qw", f"{default}=1").ok()
    try:
        docker("network", "create", *OURS, "--ipv6", "--subnet", "172.30.33.0/24", "--subnet", "fd00:33::/64", "mynet")
        docker.start("one", "--net=mynet")
        docker.start("two", "--net=mynet")
        assert docker.execute("one", "ping", "-6", "-c1", "-W2", "fd00:33::1").code == 0
        assert docker.execute("one", "ping", "-6", "-c1", "-W2", docker.address("two", "mynet", family=6)).code == 0
    finally:
        clean.node.run("sysctl", "-qw", f"{default}=0").ok()


@pytest.mark.long
def test_a_project_up_and_down_three_times(clean: DockerHost) -> None:
    """As a compose file: two networks, addresses that are chosen, and a service of three on a range of host ports."""
    docker = clean.dockerd
    services = {
        "db": ("--net=back", "--ip=172.30.32.10"),
        "proxy": ("--net=front", "--ip=172.30.31.10", "-p", "8089:80"),
        **{f"web{n}": ("--net=front", "-p", "8090-8092:80") for n in range(3)},
    }
    for _ in range(3):
        with ThreadPoolExecutor(5) as pool:
            for name, subnet in (("front", "172.30.31.0/24"), ("back", "172.30.32.0/24")):
                docker("network", "create", *OURS, "--subnet", subnet, name)
            command = ("httpd", "-f", "-p", "80")
            started = [pool.submit(docker.start, name, *how, command=command) for name, how in services.items()]
            assert all(one.result() for one in started)
            connected = [pool.submit(docker, "network", "connect", "back", f"web{n}") for n in range(3)]
            assert not any(one.result() for one in connected)
            for number in (8089, 8090, 8091, 8092):
                until(partial(from_host, clean, f"http://127.0.0.1:{number}/"), "the published port answers")
            assert docker.ping("web1", "172.30.32.10")
            removed = [pool.submit(docker, "rm", "-f", name) for name in services]
            assert all(one.result() for one in removed)
        docker("network", "rm", "front", "back")
        assert not clean.records()
        assert not clean.elements()
        assert not clean.node.path("/var/lib/cni/networks").exists() or not [
            path.name for path in clean.node.path("/var/lib/cni/networks").iterdir() if path.name.startswith("docker-")
        ]


@pytest.mark.long
def test_a_container_whose_sandbox_ended_while_the_service_was_down(clean: DockerHost) -> None:
    """Docker told the service nothing. Its address and its port are given again."""
    docker = clean.dockerd
    docker("network", "create", *OURS, "--subnet", "172.30.27.0/24", "mynet")
    docker.start("web", "--net=mynet", "--ip", "172.30.27.50", "-p", "8080:80")
    clean.stop_service(signal.SIGKILL)
    docker.try_("rm", "-f", "web", timeout=180)
    clean.serve()
    docker.start("web", "--net=mynet", "--ip", "172.30.27.50", "-p", "8080:80")
    assert docker.address("web", "mynet") == "172.30.27.50"
