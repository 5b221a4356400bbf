"""Hairpin: a pod reaches itself through a Service or a published port, and gets none of its own broadcasts back.

With br_netfilter the redirected packet is bridged. It leaves by the port that it came by, which a bridge does only for
a port with hairpin.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import until

if TYPE_CHECKING:
    from tests.side import Side

POD = "/run/netns/c1"
RANGES = {"ranges": [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]]}
SERVICES = {4: "10.96.0.10", 6: "fd00:96::a"}
LISTENER = r"""
import socket, sys, time
link, seconds, awaited = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
listener.bind((link, 0))
listener.settimeout(0.1)
print("listening", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        frame, origin = listener.recvfrom(2048)
    except TimeoutError:
        continue
    if origin[2] != socket.PACKET_OUTGOING:
        shown = " ".join((frame[:6].hex(":"), frame[6:12].hex(":"), frame[12:14].hex()))
        print(shown, flush=True)
        if shown in awaited:
            break
"""
"""Prints the frames that come in: receiver, sender, protocol. It ends after some seconds, or with an awaited one."""


def cnm(**keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "net", "ipam": RANGES, **keys}


def reference(**keys: Any) -> dict[str, Any]:
    ipam = {"type": "host-local", **RANGES}
    return {"cniVersion": "1.1.0", "name": "net", "bridge": "cni0", "isDefaultGateway": True, "ipam": ipam, **keys}


MAPPED = {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
BOTH = pytest.mark.parametrize(
    "conf", [cnm(), pytest.param(reference(**MAPPED), marks=pytest.mark.long)], ids=["cnm", "published port"]
)


@pytest.fixture
def filtered(side: Side) -> Side:
    """Bridged packets pass the host's rules, as kubeadm asks for it."""
    for family in ("iptables", "ip6tables"):
        done = side.node.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{family}=1")
        if done.code:
            pytest.skip("needs br_netfilter")
    side.node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1").ok()
    return side


def hairpin(side: Side, result: Any) -> bool:
    veth = next(link["name"] for link in result["interfaces"] if link["name"].startswith("veth"))
    data = json.loads(side.node.run("ip", "-j", "-d", "link", "show", veth).ok().out)
    return bool(data[0]["linkinfo"]["info_slave_data"]["hairpin"])


def addresses(result: Any) -> dict[int, str]:
    texts = [one["address"].partition("/")[0] for one in result["ips"]]
    return {6 if ":" in text else 4: text for text in texts}


@pytest.mark.parametrize(
    ("conf", "wanted"),
    [
        (cnm(), True),
        (cnm(profile="cnm", hairpinMode=False), False),
        (cnm(profile="cnm", hairpinMode=False, **MAPPED), True),
        (reference(), False),
        (reference(hairpinMode=True), True),
        (reference(**MAPPED), True),
    ],
    ids=["cnm", "cnm, off", "cnm, off, published port", "reference", "reference, on", "reference, published port"],
)
def test_which_ports_have_hairpin(side: Side, conf: dict[str, Any], wanted: bool) -> None:
    result = side.add(conf).ok().json
    assert hairpin(side, result) is wanted
    side.check(conf, result).ok()
    side.delete(conf).ok()


def test_check_says_that_hairpin_was_turned_off(side: Side) -> None:
    result = side.add(cnm()).ok().json
    veth = next(link["name"] for link in result["interfaces"] if link["name"].startswith("veth"))
    side.node.run("bridge", "link", "set", "dev", veth, "hairpin", "off").ok()
    assert f"{veth} has hairpin=False" in side.check(cnm(), result).json["msg"]
    side.node.run("bridge", "link", "set", "dev", veth, "hairpin", "on").ok()
    side.node.run("ip", "link", "set", "dev", veth, "group", "default").ok()
    assert f"{veth} is in the link group 0" in side.check(cnm(), result).json["msg"]


def reached(side: Side, address: str) -> bool:
    """From the pod: whether its own web server answers, even if only that it has no such page."""
    shell = f"timeout 3 busybox wget -O- http://{address}/none"
    return "404" in side.node.run("sh", "-c", shell, netns=POD).err


def serve(side: Side) -> None:
    side.node.run("sh", "-c", f"nsenter --net={POD} busybox httpd -p 80 -h /etc/cni").ok()


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [({}, True), ({"ingressPolicy": "isolated"}, True), ({"profile": "cnm", "hairpinMode": False}, False)],
    ids=["", "isolated", "off"],
)
def test_a_pod_reaches_itself_through_its_service(filtered: Side, keys: dict[str, Any], wanted: bool) -> None:
    """What kube-proxy does: the packet is redirected to the pod that sent it, and gets the host's address."""
    conf = cnm(**keys)
    pods = addresses(filtered.add(conf).ok().json)
    rules = [
        "add table inet proxy",
        "add chain inet proxy services { type nat hook prerouting priority -100; }",
        "add chain inet proxy own { type nat hook postrouting priority 100; }",
    ]
    for version, family, target in ((4, "ip", f"{pods[4]}:80"), (6, "ip6", f"[{pods[6]}]:80")):
        service, pod = f"{family} daddr {SERVICES[version]} tcp dport 80", pods[version]
        rules.append(f"add rule inet proxy services {service} dnat {family} to {target}")
        rules.append(f"add rule inet proxy own {family} saddr {pod} {family} daddr {pod} masquerade")
    filtered.node.run("nft", "-f", "-", stdin="\n".join(rules)).ok()
    serve(filtered)
    assert [reached(filtered, address) for address in (SERVICES[4], f"[{SERVICES[6]}]")] == [wanted, wanted]


def test_a_pod_reaches_its_own_published_port(filtered: Side) -> None:
    filtered.add(cnm(**MAPPED)).ok()
    filtered.node.run("ip", "address", "add", "192.0.2.1/24", "dev", "lo").ok()
    serve(filtered)
    assert reached(filtered, "192.0.2.1:8080")


@BOTH
def test_own_broadcasts_do_not_come_back(side: Side, conf: dict[str, Any]) -> None:
    """ARP, neighbour solicitations and advertisements, and any multicast; a neighbour's still come."""
    result = side.add(conf).ok().json
    other = side.add({**conf, "runtimeConfig": {}}, "c2").ok().json
    own = next(link["mac"] for link in result["interfaces"] if link["name"] == "eth0")
    neighbour = next(link["mac"] for link in other["interfaces"] if link["name"] == "eth0")
    assert hairpin(side, result)
    talk = f"""
        {sys.executable} -c '{LISTENER}' eth0 1.5 >/run/heard &
        until grep -q listening /run/heard; do sleep 0.02; done
        ip link set eth0 address {own}
        busybox ping -c1 -W1 10.90.0.77
        busybox ping -c1 -W1 fd00:90::77
        busybox ping -c1 -W1 ff02::1%eth0
        wait
        cat /run/heard
        """
    heard = side.node.run("sh", "-c", talk, netns=POD).out
    frames = [line.split() for line in heard.splitlines() if line.count(":") == 10]
    assert not [frame for frame in frames if frame[1] == own], heard
    asked = f"ff:ff:ff:ff:ff:ff {neighbour} 0806"
    listen = f"""
        nsenter --net={POD} {sys.executable} -c '{LISTENER}' eth0 20 '{asked}' >/run/asked &
        until grep -q listening /run/asked; do sleep 0.02; done
        nsenter --net=/run/netns/c2 busybox ping -c1 -W1 10.90.0.77
        wait
        cat /run/asked
        """
    heard = side.node.run("sh", "-c", listen).out
    assert asked in heard.splitlines(), heard


@BOTH
def test_a_bridge_inside_a_pod_works(side: Side, conf: dict[str, Any]) -> None:
    """Its members' addresses are learnt where they are. Without the rules all of the member's packets are lost."""
    side.add(conf).ok()
    side.node.add_netns("inner")
    for command in (
        "link add nested0 type bridge",
        "link set eth0 master nested0",
        "link add tap0 type veth peer name eth0 netns inner",
        "link set tap0 master nested0 up",
        "link set nested0 up",
    ):
        side.node.run("ip", *command.replace("netns inner", "netns /run/netns/inner").split(), netns=POD).ok()
    for command in (
        "address add 10.90.0.200/24 dev eth0",
        "-6 address add fd00:90::200/64 dev eth0 nodad",
        "link set eth0 up",
    ):
        side.node.run("ip", *command.split(), netns="/run/netns/inner").ok()
    for gateway in ("10.90.0.1", "fd00:90::1"):
        until(partial(side.node.ping, gateway, netns="/run/netns/inner", wait=1), f"{gateway} answers", 10)
        assert all(side.node.ping(gateway, netns="/run/netns/inner", wait=1) for _ in range(3))


def test_duplicate_address_detection(side: Side) -> None:
    """A pod's own solicitations are no duplicate, and another one's address is."""
    conf = cnm(profile="cnm", enabledad=True)
    side.add(conf).ok()
    taken = addresses(side.add(conf, "c2").ok().json)[6]
    flags = {
        one["local"]: one
        for link in side.node.ip("-6", "address", "show", "dev", "eth0", netns=POD)
        for one in link["addr_info"]
    }
    assert not [one for one in flags.values() if one.get("dadfailed") or one.get("tentative")]
    side.node.run("ip", "address", "add", f"{taken}/64", "dev", "eth0", netns=POD).ok()

    def refused() -> bool:
        shown = side.node.run("ip", "-6", "address", "show", "dev", "eth0", netns=POD).out
        return any(taken in line and "dadfailed" in line for line in shown.splitlines())

    until(refused, "the duplicate is found", 10)


def test_the_rules_come_back(side: Side) -> None:
    """With the next ADD after another program has flushed all rules; with a repair after it has deleted these alone."""

    def listed() -> str:
        return side.node.run("nft", "list", "chain", "bridge", "cni_cnm", "reflection").ok().out

    side.add(cnm()).ok()
    before = listed()
    side.node.run("nft", "flush", "ruleset").ok()
    side.add(cnm(), "c2").ok()
    assert listed() == before
    side.node.run("nft", "flush chain bridge cni_cnm reflection; delete chain bridge cni_cnm reflection").ok()
    assert "reflection" in side.node.run(str(side.executable), "repair").ok().out
    assert listed() == before
    assert side.node.run(str(side.executable), "repair").ok().out == ""
