"""create: what a network lacks is chosen, as netavark does it for its own bridge driver.

subnets     one of IPv4 from the default address pools, and one of IPv6 if it is enabled
gateways    the first address of a subnet; none on an internal network
    bridge      `br-` and the first 12 digits of the network's id

podman enables names unless it is told not to. A network gets them where they are answered (docs/names.md): a container
whose only name server does not answer could look up nothing.
"""

from __future__ import annotations

import os
import socket
import struct
from errno import EAGAIN

from cni_cnm.cnm.network.create_network import choose_subnet, network_subnets
from cni_cnm.cnm.records import load_network
from cni_cnm.errors import Conflict, InvalidConfig, NotReady
from cni_cnm.ipam.ranges import first_gateway
from cni_cnm.names import server
from cni_cnm.netavark import OWNER, configured
from cni_cnm.netavark.attach import refuse_differences
from cni_cnm.netavark.messages import IPAM_NONE, PodmanSubnet
from cni_cnm.netavark.network_options import bridge_name, driver_options, is_managed
from cni_cnm.netavark.network_spec import network_spec
from cni_cnm.settings import SERVICE_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPNetwork, Json
    from cni_cnm.netavark.messages import PodmanNetwork


_CREDENTIALS_SIZE = struct.calcsize("3i")


def complete(controller: Controller, network: PodmanNetwork) -> tuple[PodmanNetwork, Sequence[str]]:
    """The network with all that it lacked, and warnings. Nothing is made: that is for the first container.

    Raises:
        InvalidConfig, UnsupportedField: for what a network of this driver cannot have.
        Conflict: its bridge's name is taken.
        NotReady: a container could not be attached to it, for example because of its subnets.
    """
    host = controller.host
    driver_options(network)
    record = load_network(host.store, network.name)
    if record is not None and record.owner != OWNER:
        return _shared(host, record, network), ()
    managed = is_managed(network)
    bridge = bridge_name(network)
    if not managed and not bridge:
        raise InvalidConfig(
            "mode is unmanaged, and no bridge is named", hint="name it: `podman network create --interface-name BRIDGE`"
        )
    if managed and bridge and record is None and host.stack.link(bridge) is not None:
        raise Conflict(
            f"the host has an interface {bridge} already",
            hint="choose another: `podman network create --interface-name BRIDGE`",
        )
    found: list[str] = []
    if network.dns and (why := unanswered()):
        if network.dns_servers:
            raise NotReady(f"name servers are given, and names are not answered: {why}", hint="docs/names.md")
        found.append(f"names of the network {network.name} are not answered, as with --disable-dns: {why}")
        network = network._replace(dns=False)
    subnets = network.subnets
    if network.ipam != IPAM_NONE:
        subnets = (*subnets, *(PodmanSubnet(pool, None) for pool in _chosen(host, network)))
    completed = network._replace(
        interface=bridge or f"br-{network.id[:12]}",
        subnets=tuple(_with_gateway(network, subnet) for subnet in subnets),
        ipv6=network.ipv6 or any(subnet.pool.version == 6 for subnet in subnets),
        ipam=network.ipam or "host-local",
        dns=network.dns and managed and bool(subnets) and not network.options.get("vlan"),
    )
    _refuse_own_server(completed)
    return completed, [*found, *controller.status(network_spec(completed), exhausted_is_error=False)]


def _refuse_own_server(network: PodmanNetwork) -> None:
    """The name server of a network would ask itself."""
    for subnet in network.subnets if network.dns else ():
        if subnet.gateway in network.dns_servers:
            raise InvalidConfig(
                f"the name server {subnet.gateway} is the gateway of {subnet.pool}, where the network's own answers",
                hint="give one that other questions go to, or none",
            )


def unanswered() -> str:
    """Why nothing on this host answers names; "" if something does. A service declines a connection without request.

    A service that calls have left behind starts no name server, and ends soon.
    """
    if not server.program():
        return f"{server.PROGRAM} is not installed"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        number = connection.connect_ex(os.environ.get("CNI_CNM_SOCKET") or SERVICE_SOCKET)
        answered = number == EAGAIN or (number == 0 and not _lingers(connection))
    return "" if answered else "no service runs (cni-cnm serve)"


def _lingers(connection: socket.socket) -> bool:
    """Whether the process that listens was started with --linger (cni/linger.py). One that is not seen was not."""
    (pid,) = struct.unpack_from("i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS_SIZE))
    return "--linger" in server.command_line(pid)


def document(given: Mapping[str, Json], network: PodmanNetwork) -> dict[str, Json]:
    """The answer: what was given, with what was chosen."""
    kept = {key: value for key, value in given.items() if value is not None}
    listed = [subnet.get("lease_range") for subnet in given.get("subnets") or ()]  # chosen subnets follow, without
    subnets = [
        {
            "subnet": str(subnet.pool),
            **({"gateway": str(subnet.gateway)} if subnet.gateway is not None else {}),
            **({"lease_range": lease_range} if lease_range else {}),
        }
        for subnet, lease_range in zip(network.subnets, [*listed, *[None] * len(network.subnets)], strict=False)
    ]
    return {
        **kept,
        "network_interface": network.interface,
        "subnets": subnets,
        "ipv6_enabled": network.ipv6,
        "internal": network.internal,
        "dns_enabled": network.dns,
        "ipam_options": {**(given.get("ipam_options") or {}), "driver": network.ipam},
    }


def _chosen(host: Host, network: PodmanNetwork) -> Sequence[IPNetwork]:
    """Subnets for the IP versions that it is to have, and has none of."""
    there = {subnet.pool.version for subnet in network.subnets}
    wanted = {4, 6} if network.ipv6 else {4} if not there else set()
    taken = [*configured.subnets(), *(subnet.pool for subnet in network.subnets)]
    return [choose_subnet(host, version, taken=taken) for version in sorted(wanted - there)]


def _with_gateway(network: PodmanNetwork, subnet: PodmanSubnet) -> PodmanSubnet:
    if subnet.gateway is not None or (network.internal and not network.dns):
        return subnet
    return subnet._replace(gateway=first_gateway(subnet.pool))


def _shared(host: Host, record: NetworkRecord, network: PodmanNetwork) -> PodmanNetwork:
    """A network that CNI or a program has made: podman's containers join it as it is."""
    refuse_differences(record, network)
    for what, given in (
        ("options", network.options),
        ("routes", network.routes),
        ("name servers", network.dns_servers),
    ):
        if given:
            raise Conflict(
                f"there is a network {network.name} already, and {what} are given for it",
                hint=f"leave out the {what} to share it, or choose another name",
            )
    if network.internal and not record.internal:
        raise Conflict(
            f"there is a network {network.name} already, and it is not internal",
            hint="leave out --internal to share it, or choose another name",
        )
    subnets = network_subnets(host, record)
    return network._replace(
        interface=record.policy.bridge or network.interface,
        subnets=tuple(PodmanSubnet(one.pool, one.gateway.ip if one.gateway else None) for one in subnets),
        ipv6=any(one.pool.version == 6 for one in subnets),
        internal=record.internal,
        ipam="host-local",
        dns=record.names is not None,
    )
