"""What scripts/demo shows: two pods of a real containerd, their network, and that nothing is left of it.

Every line is an observation made here and now; the first that is not as it should be ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from tests.program import ROOT
from tests.system.containerd import IMAGE, Containerd
from tests.system.cri import Pod
from tests.system.node import PLUGIN, Node

OUTSIDE = "192.0.2.2"
COLOURS = {"ok": "\033[32m", "wrong": "\033[31m", "head": "\033[1m", "off": "\033[0m"}


def paint(kind: str, text: str) -> str:
    return f"{COLOURS[kind]}{text}{COLOURS['off']}" if sys.stdout.isatty() else text


def head(text: str) -> None:
    print(paint("head", text), flush=True)


def show(what: str, holds: bool = True) -> None:
    print(f"  {paint('ok', 'ok') if holds else paint('wrong', 'WRONG')}  {what}", flush=True)
    if not holds:
        raise SystemExit(1)


def machine() -> str:
    """The machine's own links, addresses, routes and packet filter, as text."""
    commands = (["ip", "-o", "address"], ["ip", "route", "show", "table", "all"], ["nft", "list", "ruleset"])
    return "\n".join(subprocess.run(c, capture_output=True, text=True, check=False).stdout for c in commands)


def build_outside(node: Node) -> str:
    """A namespace behind the node's uplink, standing for the rest of the world; it has no route to the pods."""
    outside = node.add_netns("outside")
    for command in (
        f"ip link add uplink type veth peer name eth0 netns {outside.rpartition('/')[2]}",
        "ip address add 192.0.2.1/24 dev uplink",
        "ip link set uplink up",
        "ip route add default via 192.0.2.2",
    ):
        node.run(*command.split()).ok()
    for command in ("ip address add 192.0.2.2/24 dev eth0", "ip link set eth0 up"):
        node.run(*command.split(), netns=outside).ok()
    return outside


def checked(node: Node, pod: Pod) -> bool:
    """CHECK, with the result containerd's libcni cached as prevResult."""
    cache = next(json.loads(node.path(path).read_text()) for path in node.files("/var/lib/cni/results")
                 if pod.id in path and path.endswith("-eth0"))  # fmt: skip
    conf = {"cniVersion": "1.0.0", "name": "podnet", "type": "cni-cnm", "prevResult": cache["result"]}
    environ = {"CNI_COMMAND": "CHECK", "CNI_CONTAINERID": pod.id, "CNI_NETNS": pod.netns, "CNI_IFNAME": "eth0",
               "CNI_PATH": str(PLUGIN.parent)}  # fmt: skip
    return node.run(str(PLUGIN), stdin=json.dumps(conf), env=environ).code == 0


def remains(node: Node) -> list[str]:
    """Links, leases, records and cached results that belong to pods."""
    links = [name for name in node.links() if name.startswith("veth")]
    folders = ("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni/results", "/var/lib/cni/networks")
    files = [path for path in node.files(*folders) if not path.endswith("/lock") and "/last_reserved_ip" not in path]
    return links + files


def demo(node: Node) -> None:
    conflist = ROOT / "conf" / "cni-1.0.0" / "podnet.conflist"
    head("A machine of its own: containerd, one line of configuration, nothing else")
    print(f"      {conflist.read_text(encoding='utf-8').strip()}")
    node.write("/etc/cni/net.d/10-podnet.conflist", conflist.read_text(encoding="utf-8"))
    build_outside(node)
    containerd = Containerd(node)
    containerd.wait_ready()
    cri = containerd.cri
    show(f"{node.run('containerd', '--version').out.split()[2]} of containerd reports NetworkReady")

    head("Two pods")
    pods, shells = [], []
    for name in ("red", "blue"):
        start = time.monotonic()
        pod = cri.run_pod(name)
        took = (time.monotonic() - start) * 1000
        pods.append(pod)
        show(f"{name:4}  {pod.addresses[0]:12}  started by containerd in {took:.0f} ms", bool(pod.addresses[0]))
        shells.append(cri.run_container(pod, IMAGE, ["sleep", "1000"]))
    red, blue = pods
    gateway = node.ip("route", "show", "default", netns=red.netns)[0]["gateway"]
    ways = (("blue", blue.addresses[0]), ("the gateway", gateway), ("a host outside, which knows no pods", OUTSIDE))
    for name, address in ways:
        status, _ = cri.execute(shells[0], ["ping", "-c1", "-W3", address])
        show(f"red reaches {name} ({address})", status == 0)
    status, _ = cri.execute(shells[1], ["ping", "-c1", "-W3", red.addresses[0]])
    show(f"blue reaches red ({red.addresses[0]})", status == 0)
    for pod in pods:
        show(f"CHECK agrees with {pod.name}", checked(node, pod))

    head("The model behind it (cni-cnm network ls, cni-cnm endpoint ls)")
    for noun in ("network", "endpoint"):
        print("      " + node.run(str(PLUGIN), noun, "ls").ok().out.rstrip().replace("\n", "\n      "))

    head("Removed")
    node.run("ip", "address", "flush", "dev", "eth0", netns=blue.netns).ok()
    show("CHECK notices that blue lost its address", not checked(node, blue))
    for pod in pods:
        cri.stop(pod.id)
        cri.remove(pod.id)
    left = remains(node)
    show(f"no link, lease, record or result is left{': ' + ', '.join(left) if left else ''}", not left)
    containerd.close()


def present(demo: Callable[[Node], None]) -> None:
    """On a node made for it; the machine outside must be as it was before."""
    before = machine()
    node = Node()
    try:
        demo(node)
    finally:
        node.close()
    show("the machine's own links, addresses, routes and packet filter are as before", machine() == before)


if __name__ == "__main__":
    present(demo)
