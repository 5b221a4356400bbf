"""Thousands of endpoints, made in bulk: each has all that an attached one has on the host, but a container.

A bridge has 1,023 ports, so every 900 have a network of its own. The first endpoint of each is attached, and the
others are made after it: record, sandbox, lease, link and elements.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.cnm.records import EndpointRecord, load_endpoint
from cni_cnm.model import EndpointKey, IpamSpec, NetworkSpec, PortMapping, digest
from tests.doctor.world import World

OF_A_NETWORK = 900


def fill(world: World, count: int) -> None:
    for number in range(0, count, OF_A_NETWORK):
        _network(world, number // OF_A_NETWORK, min(OF_A_NETWORK, count - number))


def _network(world: World, number: int, count: int) -> None:
    name, bridge = f"crowd{number}", f"br-crowd{number}"
    options = {"profile": "reference", "type": "cni-cnm", "bridge": bridge, "isgateway": True, "ipmasq": True}
    spec = IpamSpec("host-local", {"type": "host-local", "subnet": f"10.{100 + number}.0.0/16"})
    port = PortMapping("tcp", 20000 + number * OF_A_NETWORK, 80)
    first = world.attach(NetworkSpec(name, "bridge", options, spec), f"{name}-0", ports=(port,))
    store = world.controller.host.store
    raw = json.dumps(store.get("endpoints", first.id))
    sandbox = json.dumps(store.get("sandboxes", digest("sandbox", first.container_id)))
    lease = (world.folder / "leases" / name / str(first.addresses[0].interface.ip)).read_text()
    others = [_other(world, first, one, raw, sandbox, lease) for one in range(1, count)]
    far = world.netns["far"]
    lines = [
        f"link add {one.host_ifname} up master {bridge} type veth peer name p{one.id[:12]} netns {far}"
        for one in others
    ]
    world.run("sh", "-c", "ip -batch - <<'END'\n" + "\n".join(lines) + "\nEND")
    group = world.controller.host.stack.link(first.host_ifname)
    flags = world.controller.host.stack.port(group.ifindex) if group else None
    for one in others:
        link = world.controller.host.stack.link(one.host_ifname)
        if link is not None and flags is not None and group is not None:
            world.controller.host.stack.set_port(link.ifindex, flags, group=group.group)
            world.sysctl(f"net/ipv6/conf/{one.host_ifname}/accept_ra", "0")
    world.controller.host.nft.commit(endpoint_elements.of_endpoints(others))


def _other(world: World, first: EndpointRecord, number: int, raw: str, sandbox: str, lease: str) -> EndpointRecord:
    """The record of the first one with other names, and the lease of another address."""
    container = first.container_id.removesuffix("-0") + f"-{number}"
    own = EndpointKey(first.network, container, first.ifname).id
    address = str(first.addresses[0].interface.ip)
    other = str(ip_address(address) + number)
    changes = (
        (first.id, own),
        (first.container_id, container),
        (first.host_ifname, f"veth{own[:8]}"),
        (f'"{address}', f'"{other}'),
        (first.mac, f"02:{number >> 8:02x}:{number & 255:02x}:{first.mac[9:]}"),
        (str(first.ports[0].host_port), str(first.ports[0].host_port + number)),
    )
    for old, new in changes:
        raw, sandbox, lease = (text.replace(old, new) for text in (raw, sandbox, lease))
    store = world.controller.host.store
    store.put("endpoints", own, json.loads(raw))
    store.put("sandboxes", digest("sandbox", container), json.loads(sandbox))
    Path(world.folder / "leases" / first.network / other).write_text(lease, newline="")
    record = load_endpoint(store, own)
    assert record is not None
    return record
