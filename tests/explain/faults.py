"""What may be wrong on a host: other programs' firewalls, routes, neighbours, links and settings of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.explain.lab import PORT, ExplainLab
from tests.kernel.lab import Namespace

Fault = Callable[[ExplainLab, Random, list[str]], None]


def _nft(space: Namespace, text: str) -> None:
    space.run("nft", "-f", "-", text=text)


def _subnet(random: Random) -> str:
    return f"10.{random.randrange(1, 4)}.0.0/24"


def base_chain(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """Another program's table, which drops by policy, or a few things on purpose."""
    hook, priority = random.choice((("forward", 0), ("forward", 10), ("prerouting", -150), ("input", 0), ("output", 0)))
    policy, table = random.choice(("accept", "drop")), f"other{random.randrange(1000)}"
    rules = (
        "ct state established,related accept",
        f"ip saddr {_subnet(random)} drop",
        f"ip daddr {_subnet(random)} accept",
        f"udp dport {PORT} accept",
        f"udp dport {{ {PORT}, 53 }} ip daddr {_subnet(random)} drop",
        "meta l4proto ipv6-icmp accept",
        'iifname "wan0" accept',
        'oifname "wan0" drop',
        f"ip6 saddr fd00:{random.randrange(1, 4)}::/64 drop",
        'iifname vmap { "wan0" : accept, "cni1" : drop }',
        "ct status dnat accept",
        "fib daddr type local accept",
        "udp sport 1-1024 drop",
        "meta mark 0x7 drop",
    )
    chosen = "\n".join(f"add rule inet {table} chain1 {rule}" for rule in random.sample(rules, 4))
    chain = f"{{ type filter hook {hook} priority {priority}; policy {policy}; }}"
    head = f"add table inet {table}\nadd chain inet {table} chain1 {chain}"
    _nft(lab.host, f"{head}\n{chosen}\n")


def iptables(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """As Docker and administrators write it, by iptables on nf_tables."""
    version = random.choice((4, 6))
    command = "iptables-nft" if version == 4 else "ip6tables-nft"
    net = _subnet(random) if version == 4 else f"fd00:{random.randrange(1, 4)}::/64"
    rules = (
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-A FORWARD -s {net} -j ACCEPT",
        f"-A FORWARD -d {net} -p udp --dport {PORT} -j ACCEPT",
        f"-A FORWARD -p udp -m multiport --dports 53,{PORT}:5400 -j DROP",
        "-A FORWARD -i wan0 -j REJECT",
        "-A FORWARD -m mark --mark 0x10/0xf0 -j DROP",
        "-A FORWARD -m addrtype --dst-type LOCAL -j DROP",
        f"-A FORWARD ! -s {net} -j DROP",
        f"-A INPUT -p udp --dport {PORT} -j DROP",
    )
    for rule in random.sample(rules, 3):
        lab.host.run(command, "-w", *rule.split())
    if random.random() < 0.5:
        lab.host.run(command, "-w", "-P", "FORWARD", "DROP")


def legacy(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """iptables on the kernel's older tables."""
    command = random.choice(("iptables-legacy", "ip6tables-legacy"))
    rules = (
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -i wan0 -j DROP",
        "-A FORWARD -o wan0 -j ACCEPT",
        "-A FORWARD -i cni+ -j ACCEPT",
        "-A FORWARD -i br-+ ! -o wan0 -j REJECT",
    )
    for rule in random.sample(rules, 2):
        lab.host.run(command, "-w", *rule.split())
    if random.random() < 0.5:
        lab.host.run(command, "-w", "-P", "FORWARD", "DROP")


def missing_route(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    pod = lab.spaces[random.choice(pods)]
    pod.run("ip", random.choice(("-4", "-6")), "route", "del", "default", check=False)


def blackhole(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    kind = random.choice(("blackhole", "unreachable", "prohibit"))
    pod = random.choice(pods)
    lab.host.run("ip", "route", "add", kind, f"{lab.addresses[pod, 4]}/32", check=False)


def wrong_neighbour(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """A MAC that no link has, for a pod on the host."""
    pod = random.choice(pods)
    address = lab.addresses[pod, random.choice((4, 6))]
    for line in lab.host.run("ip", "route", "get", address).splitlines():
        words = line.split()
        if "dev" in words:
            link = words[words.index("dev") + 1]
            lab.host.ip(f"neigh replace {address} lladdr 02:00:00:00:00:99 dev {link} nud permanent")


def not_forwarding(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    key = random.choice(("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/wan0/forwarding"))
    lab.host.sysctl(key, "0")


def rp_filter(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """Strict, and the way back to a pod is by the uplink."""
    lab.host.sysctl("net/ipv4/conf/all/rp_filter", "1")
    pod = random.choice(pods)
    lab.host.run("ip", "route", "add", f"{lab.addresses[pod, 4]}/32", "via", "192.0.2.9", check=False)


def link_down(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    if random.random() < 0.5:
        lab.spaces[random.choice(pods)].ip("link set eth0 down")
        return
    links = [line.split(": ")[1].partition("@")[0] for line in lab.host.run("ip", "-o", "link").splitlines()]
    lab.host.ip(f"link set {random.choice([one for one in links if one not in ('lo', 'wan0')])} down")


def in_the_pod(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """A service mesh or the pod itself has rules of its own."""
    hook = random.choice(("input", "output"))
    rule = random.choice(("udp dport 5353 drop", "ct state new drop", "ct state invalid drop", "ip6 nexthdr udp drop"))
    chain = f"{{ type filter hook {hook} priority 0; }}"
    text = f"add table inet own\nadd chain inet own c {chain}\nadd rule inet own c {rule}\n"
    _nft(lab.spaces[random.choice(pods)], text)


def isolated_ports(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    for line in lab.host.run("ip", "-o", "link", "show", "type", "veth").splitlines():
        name = line.split(": ")[1].partition("@")[0]
        if " master " in line and random.random() < 0.7:
            lab.host.run("bridge", "link", "set", "dev", name, "isolated", "on")


def in_the_bridge(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """Another program's table of the family bridge."""
    pod = random.choice(pods)
    rule = random.choice(("ether type arp accept", f"ip daddr {lab.addresses[pod, 4]} drop", "ether type ip6 drop"))
    hook = random.choice(("forward", "prerouting", "output"))
    _nft(
        lab.host,
        f"add table bridge other\nadd chain bridge other c {{ type filter hook {hook} priority 0; }}\n"
        f"add rule bridge other c {rule}\n",
    )


def redirection(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """Another program's published port, as kube-proxy or Docker have it, and a masquerade of its own."""
    pod = random.choice(pods)
    _nft(
        lab.host,
        "add table ip nat1\nadd chain ip nat1 pre { type nat hook prerouting priority dstnat; }\n"
        "add chain ip nat1 post { type nat hook postrouting priority srcnat; }\n"
        f"add rule ip nat1 pre udp dport 8001 dnat to {lab.addresses[pod, 4]}:{PORT}\n"
        f"add rule ip nat1 post ip saddr {_subnet(random)} masquerade\n",
    )


def policy_routing(lab: ExplainLab, random: Random, pods: list[str]) -> None:
    """A table for marked packets, and one for a subnet."""
    lab.host.ip("rule add fwmark 0x9 lookup 99")
    lab.host.ip("route add blackhole default table 99")
    if random.random() < 0.5:
        lab.host.ip(f"rule add from {_subnet(random)} lookup 99")
    else:
        _nft(
            lab.host,
            "add table ip marks\nadd chain ip marks c { type filter hook prerouting priority mangle; }\n"
            f"add rule ip marks c ip saddr {_subnet(random)} meta mark set 0x9\n",
        )


FAULTS: tuple[Fault, ...] = (
    base_chain, base_chain, iptables, iptables, legacy, missing_route, blackhole, wrong_neighbour, not_forwarding,
    rp_filter, link_down, in_the_pod, isolated_ports, in_the_bridge, redirection, policy_routing,
)  # fmt: skip
