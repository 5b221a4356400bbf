"""What scripts/demo --hosts 3 shows: three hosts with one overlay network, etcd away, a host replaced.

Each host is a node with its own containerd; one has dockerd, too. Two are on one link, the third is behind a router.
Every line is an observation made here and now; the first that is not as it should be ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.overlay.lab import WEB, Host, Lab
from tests.system.containerd import IMAGE, Containerd
from tests.system.cri import Pod
from tests.system.demo import head, machine, show
from tests.system.dockerd import Dockerd
from tests.waiting import until

CONFLIST = {"cniVersion": "1.0.0", "name": "web", "plugins": [{"type": "cni-cnm", "driver": "overlay"}]}
CREATE = (
    "network", "create", "--driver", "cni-cnm", "-o", "cni-cnm.driver=overlay", "-o", "cni-cnm.network=web",
    "--ipam-driver", "cni-cnm", "--ipam-opt", "cni-cnm.driver=overlay", "--ipam-opt", "cni-cnm.network=web",
    "--subnet", "10.32.0.0/16", "--ipv6", "--subnet", "fd32::/48", "web",
)  # fmt: skip


class Started(NamedTuple):
    """A pod on a host, and the container in it that runs commands."""

    pod: Pod
    shell: str
    runtime: Containerd

    @property
    def address(self) -> str:
        return self.pod.addresses[0]

    def reaches(self, address: str) -> bool:
        """A first packet may find that the runtime's host does not know the way yet: five seconds at most."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if self.runtime.cri.execute(self.shell, ["ping", "-c1", "-W1", address])[0] == 0:
                return True
        return False

    def remove(self) -> None:
        self.runtime.cri.stop(self.pod.id)
        self.runtime.cri.remove(self.pod.id)


def main() -> None:
    before = machine()
    lab = Lab()
    runtimes: list[Containerd | Dockerd] = []
    try:
        lab.etcd.start()
        _scenes(lab, runtimes)
    finally:
        for runtime in runtimes:
            runtime.close()
        lab.close()
    show("the machine's own links, addresses, routes and packet filter are as before", machine() == before)


def _scenes(lab: Lab, runtimes: list[Containerd | Dockerd]) -> None:
    head("Three hosts, an etcd, and one configuration on each of them")
    one, two, far = hosts = [lab.host("node1"), lab.host("node2", serve=False), lab.host("node3", far=True)]
    two.serve("--docker")
    one.create(WEB)
    print(f"      {json.dumps(CONFLIST)}")
    pods: dict[str, Started] = {}
    containerds = {host.name: _containerd(host, runtimes) for host in hosts}
    for name, host in (("red", one), ("green", two), ("blue", far)):
        pods[name] = _start(containerds[host.name], name)
        host.wait_ready("web")
    red, green, blue = pods.values()
    dockerd = Dockerd(two.node)
    runtimes.insert(0, dockerd)
    dockerd(*CREATE)
    dockerd.start("shop", "--net=web")
    shop = dockerd.address("shop", "web")
    print(_picture(one, two, far, red.address, green.address, shop, blue.address))

    head("They reach each other")
    show(f"red reaches green ({green.address}), {_way(one, green.address)}", red.reaches(green.address))
    show(f"red reaches blue ({blue.address}), {_way(one, blue.address)}", red.reaches(blue.address))
    show(f"red reaches blue by IPv6 ({blue.pod.addresses[1]})", red.reaches(blue.pod.addresses[1]))
    show(f"blue reaches Docker's container shop ({shop})", blue.reaches(shop))
    show(f"shop reaches blue ({blue.address})", _soon(lambda: dockerd.ping("shop", blue.address)))

    head("etcd is stopped")
    lab.etcd.stop()
    start = time.monotonic()
    black = _start(containerds["node1"], "black")
    took = (time.monotonic() - start) * 1000
    show(f"black is started by containerd on node1 in {took:.0f} ms, with {black.address}")
    show(f"black reaches blue ({blue.address})", black.reaches(blue.address))
    lab.etcd.start()
    show("etcd runs again, and node1 reads it", _soon(lambda: one.cnm("node", "ls").code == 0, 40))

    head("node3 is powered off, and a new machine gets its name")
    containerds["node3"].close()
    runtimes.remove(containerds["node3"])
    far.power_off()
    new = lab.host("node3", far=True)
    show("it is refused: the other node3 has another instance", _soon(lambda: bool(new.status().get("conflict")), 40))
    show("an operator on node1 removes the old one: cni-cnm node rm --force node3",
         one.cnm("node", "rm", "--force", "node3").code == 0)  # fmt: skip
    show("then it is taken", _soon(lambda: new.status().get("conflict") == "", 40))
    white = _start(_containerd(new, runtimes), "white")
    new.wait_ready("web")
    show(f"red reaches white ({white.address}) on the new node3 ({new.addresses[0]})", red.reaches(white.address))

    head("Removed")
    dockerd.remove("shop")
    dockerd("network", "rm", "web")
    for started in (red, green, black, white):
        started.remove()
    for host in (two, new):
        host.cnm("network", "rm", "web").ok()
    one.cnm("network", "rm", "--cluster", "web").ok()
    left = [key for key in lab.etcd.stored() if "/networks/" in key or "/blocks/" in key]
    show(f"etcd has no network and no block{': ' + ', '.join(left) if left else ''}", not left)
    for host in (one, two, new):
        links = _soon_links(host)
        show(f"{host.name} has no bridge and no VXLAN device{': ' + ', '.join(links) if links else ''}", not links)


def _containerd(host: Host, runtimes: list[Containerd | Dockerd]) -> Containerd:
    host.node.write("/etc/cni/net.d/10-web.conflist", json.dumps(CONFLIST))
    made = Containerd(host.node)
    runtimes.append(made)
    made.wait_ready()
    return made


def _start(runtime: Containerd, name: str) -> Started:
    pod = runtime.cri.run_pod(name)
    return Started(pod, runtime.cri.run_container(pod, IMAGE, ["sleep", "1000"]), runtime)


def _way(host: Host, address: str) -> str:
    """By which link of the host packets leave, as its kernel says."""
    link = host.node.ip("route", "get", address)[0]["dev"]
    return "by VXLAN" if str(link).startswith("cnm-vx") else f"by a plain route on {link}"


def _soon(holds: Callable[[], object], limit: float = 10) -> bool:
    try:
        until(holds, "", limit)
    except AssertionError:
        return False
    return True


def _soon_links(host: Host) -> list[str]:
    def left() -> list[str]:
        return [link for link in host.node.links() if link.startswith(("br-", "cnm-vx", "veth"))]

    _soon(lambda: not left(), 20)
    return left()


def _picture(one: Host, two: Host, far: Host, red: str, green: str, shop: str, blue: str) -> str:
    return f"""
      node1 {one.addresses[0]:<12}      node2 {two.addresses[0]:<12}         node3 {far.addresses[0]:<12}
      containerd              containerd, dockerd        containerd
        red   {red:<12}      green {green:<12}         blue  {blue:<12}
                                shop  {shop:<12}
        │                       │                          │
      ──┴───────────┬───────────┴──  router  ──────────────┴──
                    │
              etcd 192.0.2.10
"""


if __name__ == "__main__":
    main()
