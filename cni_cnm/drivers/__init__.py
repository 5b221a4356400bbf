"""Network drivers: the contract, and the names.

A driver makes the data path of a network on this host and the device of an endpoint. It gets Stacks handed in, never
enters a namespace, and keeps nothing of its own: what it must remember is in the records it is given.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from cni_cnm.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Address, Device, EndpointSpec, Json, NetworkSpec, PortMapping, Subnet

BUILT_IN = {
    "bridge": "cni_cnm.drivers.bridge",
    "chained": "cni_cnm.drivers.chained",
    "host": "cni_cnm.drivers.host",
    "ipvlan": "cni_cnm.drivers.ipvlan",
    "macvlan": "cni_cnm.drivers.macvlan",
    "null": "cni_cnm.drivers.null",
}
WITHOUT_ADDRESSES = ("host", "null")
"""Drivers whose networks have no IPAM unless one is named, which they then refuse."""


class Place(NamedTuple):
    """Where a device must be born, and under which name.

    CNI gives the container's own stack and final name; a caller that moves the device itself (Docker) gives the
    host's and a temporary one. No driver branches on which.
    """

    stack: Stack
    ifname: str
    sandbox: str = ""
    """The netns path to report."""


class EndpointPlan(NamedTuple):
    """All a driver needs to make one endpoint; written to the record before anything is made."""

    id: str
    host_ifname: str
    """Name of the link on the host, decided beforehand, so that a delete after a crash knows what to look for."""
    mac: str
    addresses: Sequence[Address]
    ports: Sequence[PortMapping] = ()
    publishes: bool = False
    """It has published ports, so traffic of its own may come back to it."""
    nameservers: Sequence[str] = ()
    """What the container's resolver will ask."""


class Role(NamedTuple):
    """How a sandbox uses a network. libnetwork elects a sandbox's gateway among the networks that offer one."""

    gateway: bool = False
    """The gateway of each subnet is answered by the driver's own device (reference key `isGateway`)."""
    default_route: bool = False
    """The network can be the sandbox's way out."""
    internal: bool = False
    dad: bool = False
    """IPv6 addresses wait for duplicate address detection."""
    container_up: bool = True
    makes_device: bool = True
    """False: the interface is another plugin's, and so are its addresses, routes and its end."""
    interface: bool = True
    """False: the sandbox gets none, so there is nothing to publish, limit or tune."""
    host_end: bool = True
    """A link on the host leads to the endpoint: by it ports are published and bandwidth is limited."""
    own_mac: bool = True
    """False: the device has another link's MAC, and a requested one is refused."""
    connected: bool = False
    """The default route is the device itself; gateways have no meaning."""
    invents_mac: bool = True
    """False: a MAC is given where one is asked for, by the user or by IPAM; else the device brings its own."""
    moved: bool = False
    """The device is made on the host, by others and under a name of theirs, and moved into the sandbox and back."""
    publishes: bool = False
    """Ports are published by the driver, not by our packet filter (`ExternalConnectivity`)."""


class Driver(Protocol):
    """The core contract. Extras (own gateway choice, port mapping) are separate small Protocols."""

    name: str

    def options(self, network: NetworkSpec) -> Mapping[str, Json]:
        """Parse and check the network's options (InvalidConfig); the result is what every other verb is given.

        The result is JSON, because the network's record keeps it: a later call parses nothing again.
        """

    def validate(self, options: Mapping[str, Json], host: Stack) -> None:
        """Refuse before anything is touched what this host cannot give: a full bridge, a link that is no bridge."""

    def create_network(self, options: Mapping[str, Json], subnets: Sequence[Subnet], host: Stack) -> bool:
        """Make the network's data path, or complete what is there: idempotent, also with another caller beside.

        False if it was there before: then it is not the network's to delete.
        """

    def delete_network(self, options: Mapping[str, Json], host: Stack) -> None:
        """Remove what create_network made and nobody else made before; missing is success."""

    def create_endpoint(self, options: Mapping[str, Json], plan: EndpointPlan, host: Stack, place: Place) -> Device:
        """Make the device in its place, down, without addresses. On failure nothing of it stays, or `Unfinished`."""

    def delete_endpoint(self, options: Mapping[str, Json], plan: EndpointPlan, host: Stack) -> None:
        """Remove the device from the host's side; missing is success."""

    def check_endpoint(self, options: Mapping[str, Json], plan: EndpointPlan, host: Stack, place: Place) -> None:
        """CheckFailed naming the first thing that differs. Writes nothing."""

    def policy(self, options: Mapping[str, Json]) -> Policy:
        """What the packet filter must do for this network's endpoints."""

    def role(self, options: Mapping[str, Json]) -> Role:
        """What the network offers a sandbox."""

    def status(self, options: Mapping[str, Json], host: Stack) -> str:
        """A warning ("" for none) about what would keep an ADD from working; NotReady if nothing can."""


class Adopted(NamedTuple):
    """An interface that somebody else has made, before anything is added to it."""

    host_ifname: str
    """Its end on the host, "" for none."""
    mac: str
    network: Mapping[str, Json]
    """The network's options, with what is the same for all of its endpoints."""
    endpoint: Mapping[str, Json]
    """The endpoint's own."""


@runtime_checkable
class UsesExistingInterface(Protocol):
    """A driver whose endpoints are given interfaces that are there."""

    def adopt(self, options: Mapping[str, Json], spec: EndpointSpec, host: Stack, place: Place) -> Adopted:
        """What is there. InvalidConfig for a wish that cannot be added to it. Nothing is touched."""


@runtime_checkable
class NeedsLeave(Protocol):
    """A driver that must know when an endpoint leaves its sandbox: its devices have no end on the host, or a plugin
    has a part in it."""

    def leave(self, options: Mapping[str, Json], plan: EndpointPlan, place: Place | None) -> None:
        """Before `delete_endpoint`. `place` None: the sandbox is gone, with all that was in it; missing is success."""


@runtime_checkable
class ExternalConnectivity(Protocol):
    """A driver that connects its endpoints to the outside, and publishes their ports, itself (libnetwork's ExtConner).

    Called when an endpoint becomes its sandbox's way out of either family, or has ports to publish.
    """

    def program(self, options: Mapping[str, Json], plan: EndpointPlan, *, ipv6_elsewhere: bool) -> None:
        """May be called again. `ipv6_elsewhere`: the sandbox's IPv6 way out is another endpoint."""

    def revoke(self, options: Mapping[str, Json], plan: EndpointPlan) -> None:
        """It is no longer the way out. Leaving a sandbox implies it."""


@runtime_checkable
class ChecksGateways(Protocol):
    """A driver that may have no use for a gateway address (libnetwork's GwAllocChecker)."""

    def skips_gateways(self, options: Mapping[str, Json]) -> frozenset[int]:
        """IP versions of which none is to be reserved."""


@runtime_checkable
class Reports(Protocol):
    """A driver that can say more of an endpoint than the record does."""

    def info(self, options: Mapping[str, Json], plan: EndpointPlan) -> Mapping[str, Json]: ...


@runtime_checkable
class Shares(Protocol):
    """A driver whose networks may stand on one link of the host together."""

    def shared(self, options: Mapping[str, Json], host: Stack) -> str:
        """Name of that link, "" for none. `delete_network` is called for the last network on it only."""

    def clash(self, options: Mapping[str, Json], other: Mapping[str, Json]) -> str:
        """Why a network of the one options cannot share a link with one of the other; "" if it can."""


drivers: Registry[Driver] = Registry("network driver", BUILT_IN, others="cni_cnm.drivers.remote")
