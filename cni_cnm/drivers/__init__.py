"""Network drivers: the contract, and the names.

A driver makes the data path of a network on this host and the device of an endpoint. It gets Stacks handed in, never
enters a namespace, and keeps nothing of its own: what it must remember is in the records it is given. Its module has
`DRIVER`, an instance of the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from cni_cnm.bases import Generic, Protocol, TypeVar
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Any, ClassVar, Literal, TypeAlias

    from cni_cnm.firewall import Policy
    from cni_cnm.kernel import Stack
    from cni_cnm.model import (
        Address,
        Device,
        EndpointSpec,
        Interface,
        IPAddress,
        IPInterface,
        IPNetwork,
        Json,
        NetworkSpec,
        PortMapping,
        Subnet,
    )

BUILT_IN = {
    "bridge": "cni_cnm.drivers.bridge",
    "chained": "cni_cnm.drivers.chained",
    "host": "cni_cnm.drivers.host",
    "host-device": "cni_cnm.drivers.host_device",
    "ipvlan": "cni_cnm.drivers.ipvlan",
    "macvlan": "cni_cnm.drivers.macvlan",
    "null": "cni_cnm.drivers.null",
    "overlay": "cni_cnm.drivers.overlay",
    "ptp": "cni_cnm.drivers.ptp",
}
DEFAULT = "bridge"
"""The driver of a network that names none."""
CHAINED = "chained"
"""The driver of a network whose interfaces are other plugins'."""
POLICY_OF_CHAIN = "policyofchain"
"""Key of a network's options: its policy is what another plugin of its list has decided (cni/names/firewall.py)."""
OVERLAY = "overlay"
"""The driver of networks of several hosts, each with blocks of addresses of its own."""


class Configuration(NamedTuple):
    """What a driver reads of a network's configuration, for the frontends that check one."""

    keys: frozenset[str] | None = None
    """Top-level keys of a CNI configuration, in lower case. None: any."""
    reference_keys: frozenset[str] = frozenset()
    """Those that make it a configuration of the reference plugin of the same name."""
    addresses: bool = True
    """False: there is no IPAM by default."""
    refused: str = ""
    """Why no CNI configuration can name the driver, as the end of "driver is 'NAME', which …"; "" if one can."""
    hint: str = ""
    """What to do instead."""


class Place(NamedTuple):
    """Where a device is made, and under which name.

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
    """It has published ports, so packets that it sends to one of them come back to it (hairpin)."""
    nameservers: Sequence[str] = ()
    """The name servers in the container's resolver configuration."""


class NetworkPlan(NamedTuple):
    """What a network's own link on the host is compared with."""

    gateways: Sequence[IPInterface] = ()
    """Those of its subnets and of its endpoints."""
    mtu: int = 0
    """The lowest of its endpoints' interfaces; 0 if there are none, or they are not known."""
    keeps_mtu: bool = False
    """No other network has the link, and no other program made it: its MTU is this network's."""
    owns_link: bool = False
    """The network made the link. Another program's is given addresses, and nothing else."""
    in_use: bool = True
    """There are endpoints. Without any, the next one brings the link up."""


InterfaceOrigin: TypeAlias = 'Literal["made", "moved", "device", "existing", "none"]'
"""Where a sandbox's interface comes from.

    made      the driver makes it in the sandbox
    moved     a plugin makes it on the host, under a name of its own; it is moved into the sandbox and back
    device    the host has it, as a network card; it is moved into the sandbox and back
    existing  another plugin made it: its addresses, its routes and its removal are that plugin's
    none      the sandbox gets none: there is nothing to publish, limit or tune
"""
MacPolicy: TypeAlias = 'Literal["derived", "requested", "inherited"]'
"""The MAC address of an interface.

    derived    the one that the user or IPAM asks for, else one that follows from the endpoint's id
    requested  the same, but without a request the interface keeps its own
    inherited  another link's: a request is refused
"""
Outside: TypeAlias = 'Literal["host", "parent", "plugin", "nowhere"]'
"""How an interface reaches the outside, and so what can publish its ports.

    host     over a link on the host: our packet filter publishes ports, the link limits bandwidth
    parent   over the parent link, without passing the host's packet filter: no published ports, no limits
    plugin   as its plugin has it, which publishes the ports (`Driver.external_connectivity`)
    nowhere  not at all
"""
GatewayPolicy: TypeAlias = 'Literal["ipam", "driver", "router", "none"]'
"""The gateway of each subnet.

    ipam    the one that IPAM names, if any
    driver  a device of the driver: the subnet's first address where IPAM names none (reference key `isGateway`)
    router  the same, and the subnet's other addresses are reached through it as well: no neighbour is on the link
    none    routes lead to the link itself, and gateways have no meaning
"""


class Role(NamedTuple):
    """How a sandbox uses a network. libnetwork elects a sandbox's gateway among the networks that offer one."""

    interface: InterfaceOrigin = "made"
    mac: MacPolicy = "derived"
    outside: Outside = "host"
    gateway: GatewayPolicy = "ipam"
    default_route: bool = False
    """The network can be the sandbox's default gateway."""
    metric: int = 0
    """Of its default routes. With one, each endpoint of a sandbox has a default route, and none is elected."""
    internal: bool = False
    up: bool = True
    """False: the interface is left down."""
    dad: bool = False
    """IPv6 addresses wait for duplicate address detection."""

    @property
    def configured(self) -> bool:
        """Whether the engine gives the interface its addresses, routes and state."""
        return self.interface in ("made", "moved", "device")

    @property
    def moved(self) -> bool:
        """Whether the interface is moved into the sandbox, and back."""
        return self.interface in ("moved", "device")


class Options(Protocol):
    """A network's options as its driver has parsed them: an immutable value of the driver's own."""

    def to_json(self) -> Mapping[str, Json]:
        """For the record; `Driver.restore` is the reverse."""


OptionsT = TypeVar("OptionsT", bound=Options)


class ExistingInterface(NamedTuple, Generic[OptionsT]):
    """An interface that another plugin has made, or a link of the host, before anything is changed."""

    host_ifname: str
    """Its end on the host, "" for none."""
    mac: str
    network: OptionsT
    """The network's options, with what is the same for all of its endpoints."""
    endpoint: OptionsT
    """The endpoint's own."""


class Driver(ABC, Generic[OptionsT]):
    """The contract. What a driver must say is abstract; the rest has the answer of a driver that needs nothing of it.

    `OptionsT` is the driver's own options value. It is parsed once, by `options`, or read once from a record, by
    `restore`; every other method is handed it.
    """

    name: str
    configuration: ClassVar[Configuration] = Configuration()
    link_kinds: ClassVar[frozenset[str]] = frozenset()
    """Kinds of links that the driver, or the reference plugin of the same name, makes for one container alone. One that
    no record knows of is removed with its container."""
    uses_existing_interface: ClassVar[bool] = False
    """Its endpoints are given interfaces that another plugin has made (`existing_interface`)."""
    takes_host_link: ClassVar[bool] = False
    """Its endpoints are given links that the host has (`existing_interface`), and leave them there again."""
    needs_leave: ClassVar[bool] = False
    """It must know when an endpoint leaves its sandbox (`leave`): its devices have no end on the host, or a plugin has
    a part in it."""
    external_connectivity: ClassVar[bool] = False
    """It connects its endpoints to the outside, and publishes their ports, itself (`program`, `revoke`; libnetwork's
    ExtConner)."""
    shares_links: ClassVar[bool] = False
    """Its networks may use one link of the host together (`shared_link`, `sharing_conflict`). The link's alias shows
    whether it was made for them."""

    @abstractmethod
    def options(self, network: NetworkSpec) -> OptionsT:
        """Parse and check the network's options (InvalidConfig)."""

    @abstractmethod
    def restore(self, raw: Mapping[str, Json]) -> OptionsT:
        """The options that a record holds as `Options.to_json` gave them, also those of earlier versions."""

    def settled(self, options: OptionsT, *, earlier: bool) -> OptionsT:
        """The options with defaults that depend on when the network was made. `earlier`: by version 0.1.0."""
        return options

    def adopted(self, options: OptionsT, recorded: OptionsT) -> OptionsT:
        """The configured options with what the network that is on record got when it was made.

        InvalidConfig, naming both values, for one that no edit of a configuration changes.
        """
        return options

    def with_policy(self, options: OptionsT, policy: Mapping[str, Json]) -> OptionsT:
        """The options with these keys of the plugin `firewall`, as far as the driver's networks have a policy."""
        return options

    def with_policy_of(self, options: OptionsT, recorded: OptionsT) -> OptionsT:
        """The options with the policy of those on record."""
        return options

    def all_subnets(self, options: OptionsT) -> Sequence[IPNetwork]:
        """The subnets of a network on all of its hosts; none if it is on this host alone."""
        return ()

    def fixed(self, options: OptionsT) -> Mapping[str, Json]:
        """What an edit may not change while the network has endpoints: value by the name that users know."""
        return {}

    def refuse_new(self, options: OptionsT) -> None:
        """InvalidConfig for options that only a network which is on record may have."""

    def validate(self, options: OptionsT, host: Stack) -> None:
        """Refuse before anything is touched what this host cannot give: a full bridge, a link that is no bridge."""

    def owns_data_path(self, options: OptionsT, host: Stack) -> bool:
        """Whether what `create_network` makes, or has made in a call that was killed, is the network's to remove.

        False if there is nothing to make, or if another program has made it. Asked before it is made.
        """
        return False

    def create_network(self, options: OptionsT, subnets: Sequence[Subnet], host: Stack) -> None:
        """Make the network's data path, or complete what is there: idempotent, also if another caller does it at once.

        The caller undoes a failure with `delete_network`, if the network owns its data path.
        """

    def delete_network(self, options: OptionsT, host: Stack) -> None:
        """Remove what create_network made and no other program made before; no error if absent."""

    @abstractmethod
    def create_endpoint(self, options: OptionsT, plan: EndpointPlan, host: Stack, place: Place) -> Device:
        """Make the device in its place, down, without addresses. On failure nothing of it stays, or `Unfinished`."""

    def compare_network(self, options: OptionsT, plan: NetworkPlan, host: Stack) -> Sequence[str]:
        """What the network's own link on the host lacks, such as `cni0 is down`. Changes nothing."""
        return ()

    def repair_network(self, options: OptionsT, plan: NetworkPlan, host: Stack) -> bool:
        """Put that right. True if the link was made again: then endpoints' links have to be attached to it again.

        Conflict if what another program made is in the way.
        """
        return False

    def compare_endpoint(self, options: OptionsT, plan: EndpointPlan, host: Stack) -> Sequence[str]:
        """What the host's end of an endpoint lacks; nothing if it or its network's link is absent. Changes nothing."""
        return ()

    def repair_endpoint(self, options: OptionsT, plan: EndpointPlan, host: Stack) -> None:
        """Put that right, for one also after the network's own link was made again (`Device.remade`).

        No error if the endpoint's link is absent.
        """

    def add_gateways(self, options: OptionsT, plan: EndpointPlan, host: Stack) -> tuple[Interface, ...]:
        """The gateways of addresses that were not known when the device was made. Returns links to report."""
        return ()

    @abstractmethod
    def delete_endpoint(self, options: OptionsT, plan: EndpointPlan, host: Stack) -> None:
        """Remove the device from the host's side; no error if absent."""

    @abstractmethod
    def check_endpoint(self, options: OptionsT, plan: EndpointPlan, host: Stack, place: Place) -> None:
        """CheckFailed naming the first thing that differs. Writes nothing."""

    @abstractmethod
    def policy(self, options: OptionsT) -> Policy:
        """What the packet filter must do for this network's endpoints."""

    @abstractmethod
    def role(self, options: OptionsT) -> Role:
        """What the network offers a sandbox."""

    def status(self, options: OptionsT, subnets: Sequence[Subnet], host: Stack) -> str:
        """A warning ("" for none) about what would keep an ADD from working; NotReady if nothing can.

        `subnets` as for `create_network`, where they are known.
        """
        return ""

    def existing_interface(
        self, options: OptionsT, spec: EndpointSpec, host: Stack, place: Place
    ) -> ExistingInterface[OptionsT]:
        """What is there. InvalidConfig for a request that cannot be added to it. Changes nothing.

        With `takes_host_link` its `host_ifname` is the link to move; "" if the endpoint gets none.
        """
        raise TypeError(f"the driver {self.name} makes its interfaces itself")

    def leave(self, options: OptionsT, plan: EndpointPlan, place: Place | None) -> None:
        """Before `delete_endpoint`. `place` None: the sandbox is gone, with all that was in it. No error if absent."""

    def program(self, options: OptionsT, plan: EndpointPlan, *, ipv6_elsewhere: bool) -> None:
        """The endpoint becomes its sandbox's default gateway of either family, or has ports to publish.

        May be called again. `ipv6_elsewhere`: the sandbox's IPv6 default gateway is another endpoint.
        """

    def revoke(self, options: OptionsT, plan: EndpointPlan) -> None:
        """It is no longer the default gateway. Leaving a sandbox implies it."""

    def subnet_links(self, options: OptionsT, host: Stack) -> tuple[str, ...]:
        """Names of the host's links that the network's subnets are on, its own link first: a bridge, a parent."""
        return ()

    def change_subnets(
        self,
        options: OptionsT,
        old: Sequence[Subnet],
        new: Sequence[Subnet],
        host: Stack,
        in_use: Container[IPAddress] = frozenset(),
    ) -> None:
        """The subnets of a network are `new` now: change what the data path has of them. On failure as before.

        Gateways that are `in_use` stay: endpoints have their default route by them.
        """

    def skips_gateways(self, options: OptionsT) -> frozenset[int]:
        """IP versions of which no gateway address is to be reserved (libnetwork's GwAllocChecker)."""
        return frozenset()

    def info(self, options: OptionsT, plan: EndpointPlan) -> Mapping[str, Json]:
        """What can be said of an endpoint beside its record."""
        return {}

    def shared_link(self, options: OptionsT, host: Stack) -> str:
        """The link that other networks may use, too; "" for none. `delete_network` is called for the last of them."""
        return ""

    def sharing_conflict(self, options: OptionsT, other: OptionsT) -> str:
        """Why networks with these two options cannot share a link; "" if they can."""
        return ""


drivers: Registry[Driver[Any]] = Registry("network driver", BUILT_IN, others="cni_cnm.drivers.remote")
