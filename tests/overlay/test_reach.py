"""Pods of several hosts on overlay networks: who reaches whom, and by which way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.overlay.lab import Pod, configuration
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.conftest import Trio
    from tests.overlay.lab import Host

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
"""busybox's wget crashes in a namespace without the files that glibc looks for."""


def together(*pods: Pod) -> None:
    """Every pod reaches every address of every other one."""
    for pod in pods:
        others = [other for other in pods if other is not pod]
        until(lambda pod=pod, others=others: pod.reaches(*others), f"{pod.name} reaches all", 20, pod.host.said)  # type: ignore[misc]


def routes(host: Host, version: str) -> dict[str, str]:
    """The link of each route that the agent has made, by destination."""
    found = host.node.ip(version, "route", "show", "proto", "67")
    return {route["dst"]: route.get("dev", route.get("type", "")) for route in found}


def test_pods_of_three_hosts(trio: Trio) -> None:
    """Both IP versions; between hosts on one link without VXLAN, to the host behind a router with it."""
    pods = [host.pod("web") for host in trio.hosts]
    blocks = {pod.address.rsplit(".", 1)[0] for pod in pods}
    assert len(blocks) == 3, "each host gives addresses of a block of its own"
    assert [len(pod.addresses) for pod in pods] == [2, 2, 2]
    for host in trio.hosts:
        host.wait_ready("web")
    together(*pods)
    one, two, far = (f"{pod.address.rsplit('.', 1)[0]}.0/24" for pod in pods)
    near_routes = routes(trio.one, "-4")
    assert near_routes[two] == "eth0"
    assert near_routes[far].startswith("cnm-vx")
    assert routes(trio.far, "-4")[one].startswith("cnm-vx")
    mtu = trio.one.node.ip("link", "show", "eth0", netns=pods[0].netns)[0]["mtu"]
    assert mtu in (1430, 1450), (
        "of the uplink 1500; without 70 for a pod that is older than the device, else without 50"
    )
    for pod in pods:
        pod.check().ok()
    for pod in pods:
        pod.delete().ok()


def test_the_host_itself(trio: Trio) -> None:
    """A host reaches other hosts' pods, which see it as its gateway in the network: so their answers come back."""
    pod = trio.far.pod("web")
    trio.one.pod("web")
    trio.one.wait_ready("web")
    for address in pod.addresses:
        until(lambda address=address: trio.one.node.ping(address), f"the host reaches {address} of another host", 20)  # type: ignore[misc]


def test_networks_are_isolated(trio: Trio) -> None:
    """A second overlay network has another VNI, and neither its pods nor its host's gateway let the first one in."""
    trio.one.create(("shop", "--subnet", "10.33.0.0/16"))
    web, shop, away = trio.one.pod("web"), trio.two.pod("shop"), trio.far.pod("shop")
    for host in (trio.two, trio.far):
        host.wait_ready("shop")
    together(shop, away)
    for pod in (shop, away):
        assert not web.pings(pod.address, wait=1)
        assert not pod.pings(web.address, wait=1)


def test_published_port(trio: Trio) -> None:
    """A pod of another host reaches it at the host's address, and the pod itself at its own."""
    server = trio.two.side.container("server")
    published = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    config = configuration({"name": "web", "runtimeConfig": {"portMappings": [published]}})
    result = trio.two.side.add(config, "server").ok().json
    address = result["ips"][0]["address"].partition("/")[0]
    trio.two.node.run("sh", "-c", "mkdir -p /run/www; echo hello > /run/www/index.html", netns=server).ok()
    trio.two.node.run("busybox", "httpd", "-p", "80", "-h", "/run/www", netns=server).ok()
    client = trio.far.pod("web")
    trio.far.wait_ready("web")

    def fetched(url: str) -> str:
        return trio.far.node.run("/usr/bin/python3", "-c", FETCH, url, netns=client.netns).out

    for url in (f"http://{address}/", f"http://{trio.two.addresses[0]}:8080/"):
        until(lambda url=url: fetched(url) == "hello\n", f"{url} answers", 20, trio.far.said)  # type: ignore[misc]
    trio.two.side.delete(config, "server").ok()


def test_store_away(trio: Trio) -> None:
    """Without the store pods start, are checked and end, and reach pods of other hosts; STATUS stays 0."""
    before = trio.far.pod("web")
    trio.one.pod("web")
    for host in (trio.one, trio.far):
        host.wait_ready("web")
    trio.lab.etcd.stop()
    try:
        pod = trio.one.pod("web")
        together(pod, before)
        pod.check().ok()
        pod.delete().ok()
        trio.one.kill_agent()
        trio.one.wait_ready("web")
        again = trio.one.pod("web")
        together(again, before)
        status = trio.one.side.call("STATUS", {"cniVersion": "1.1.0", "name": "web", "driver": "overlay"})
        assert status.code == 0, f"{status.json} {status.err}"
    finally:
        trio.lab.etcd.start()
    trio.one.wait_said("answers")


def test_network_inspect(trio: Trio) -> None:
    """What an operator sees: blocks, hosts, VNI."""
    trio.one.pod("web")
    shown = json.loads(trio.one.cnm("network", "inspect", "web").ok().out)[0]
    text = json.dumps(shown)
    assert "4096" in text
    assert "node1" in text
    until(
        lambda: all(host.name in trio.one.cnm("node", "ls").ok().out for host in trio.hosts), "all hosts are listed", 20
    )


def test_what_the_kernel_has_for_a_host(trio: Trio) -> None:
    """It is read by other code than the agent's: a plain route to a host on the link, entries for another one."""
    far, two = trio.far.pod("web"), trio.two.pod("web")
    together(trio.one.pod("web"), two, far)
    (near,) = json.loads(trio.one.cnm("node", "inspect", "node2").ok().out)
    blocks = near["blocks"]["web"][0].split()
    assert f"{blocks[0]} via {trio.two.addresses[0]} dev eth0" in near["kernel"]["routes"]
    assert near["kernel"]["neighbours"] == near["kernel"]["forwarding"] == []
    (away,) = json.loads(trio.one.cnm("node", "inspect", trio.far.name).ok().out)
    blocks, mac, kernel = away["blocks"]["web"][0].split(), away["mac"], away["kernel"]
    next_hops = [block.partition("/")[0] for block in blocks]
    expected = {f"{block} via {hop} dev cnm-vx4096" for block, hop in zip(blocks, next_hops, strict=True)}
    assert expected <= {*kernel["routes"]}
    assert {f"{hop} dev cnm-vx4096 lladdr {mac}" for hop in next_hops} <= {*kernel["neighbours"]}
    assert f"{mac} dev cnm-vx4096 dst {trio.far.addresses[0]}" in kernel["forwarding"]
