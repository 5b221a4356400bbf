"""Controller: the entry to the Container Network Model on this host.

    Controller ── networks by name, id, id prefix ── Network ── Endpoint ─┐ joins
               └─ sandboxes by container ─────────── Sandbox ◄────────────┘

It only delegates: objects/ has what programs and the command line use, requests/ what the CNI frontend calls.
Nothing is kept in memory between calls. Every method reads the records, so any number of processes and threads use the
same networks at once, and a restart has nothing to restore.
"""

from __future__ import annotations

from cni_cnm.drivers import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.cnm.objects.sandbox import Sandbox
    from cni_cnm.kernel import Namespaces
    from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, IpamSpec, Json, NetworkSpec


class Controller:
    """Made by `open_controller`, which picks the real kernel and store. Tests hand in a `Host` of their own."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def namespaces(self) -> Namespaces:
        return self.host.namespaces

    def close(self) -> None:
        self.host.close()

    # networks ---------------------------------------------------------------

    def new_network(
        self,
        name: str,
        *,
        driver: str = DEFAULT,
        options: Mapping[str, Json] | None = None,
        ipam_type: str | None = None,
        ipam_config: Mapping[str, Json] | None = None,
        internal: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Network:
        """Make a network. Conflict if the name is taken. Without a subnet one is chosen from the default pools.

        `ipam_type` None: host-local, or none for a driver whose networks have no addresses.
        """
        from cni_cnm.cnm.objects import creation

        return creation.new_network(
            self.host,
            name,
            driver=driver,
            options=options or {},
            ipam_type=ipam_type,
            ipam_config=ipam_config or {},
            internal=internal,
            labels=labels or {},
        )

    def networks(self) -> Iterator[Network]:
        """By name."""
        from cni_cnm.cnm.objects import lookup

        return lookup.networks(self.host)

    def walk_networks(self, visit: Callable[[Network], bool]) -> None:
        """Call `visit` for each network until it returns True."""
        any(map(visit, self.networks()))

    def network(self, name_or_id: str) -> Network:
        """By name, by id, or by an id prefix that only one network has. NoSuchNetwork if there is none."""
        from cni_cnm.cnm.objects import lookup

        return lookup.find_network(self.host, name_or_id)

    def allow(self, one: str, other: str) -> None:
        """Open two networks to each other (names, ids, id prefixes), until `revoke` or until one is deleted."""
        from cni_cnm.cnm.packet_filter import allow_networks

        allow_networks.allow(self.host, self.network(one).record, self.network(other).record)

    def revoke(self, one: str, other: str) -> None:
        """Close them to each other, also for connections that exist. No error if they are not open to each other."""
        from cni_cnm.cnm.packet_filter import allow_networks

        allow_networks.revoke(self.host, self.network(one).record, self.network(other).record)

    # sandboxes --------------------------------------------------------------

    def new_sandbox(self, container_id: str, netns: str) -> Sandbox:
        """The sandbox of a container whose network namespace is at `netns`. One a container (Forbidden)."""
        from cni_cnm.cnm.objects import creation

        return creation.new_sandbox(self.host, container_id, netns)

    def sandboxes(self) -> Iterator[Sandbox]:
        from cni_cnm.cnm.objects import lookup

        return lookup.sandboxes(self.host)

    def sandbox(self, container_id: str) -> Sandbox:
        """NoSuchSandbox if the container has none."""
        from cni_cnm.cnm.objects import lookup

        return lookup.find_sandbox(self.host, container_id)

    # whole requests, for a frontend whose calls are one attachment each -------

    def attach(self, network: NetworkSpec, endpoint: EndpointSpec) -> Attachment:
        """Get or create the network, create the endpoint, join the sandbox. All of it or nothing.

        The same `request_id` again gives the same answer.
        """
        from cni_cnm.cnm.requests.attach import attach

        return attach(self.host, network, endpoint)

    def detach(self, key: EndpointKey, endpoint: EndpointSpec | None, ipam_spec: IpamSpec | None) -> Sequence[str]:
        """Take an endpoint down from its record; without one, remove what another plugin made under its name.

        No error if there is nothing. Returns what plugins refused, one sentence each.
        """
        from cni_cnm.cnm.requests.detach import detach

        return detach(self.host, key, endpoint, ipam_spec)

    def check(self, network: NetworkSpec, endpoint: EndpointSpec, previous: Attachment | None) -> Sequence[str]:
        """CheckFailed naming what differs between the record and the kernel; else warnings. Writes nothing."""
        from cni_cnm.cnm.requests.check import check

        return check(self.host, network, endpoint, previous)

    def collect(
        self, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str]
    ) -> Sequence[str]:
        """Take down the owner's endpoints of the network that are not `valid`. Returns notes on other owners'."""
        from cni_cnm.cnm.requests.collect import collect

        return collect(self.host, network, owner, valid, environ)

    def status(self, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
        """Warnings about what would keep an attach from working; NotReady if none can work."""
        from cni_cnm.cnm.requests.status import status

        return status(self.host, network, exhausted_is_error=exhausted_is_error)

    def families(self, network: NetworkSpec, endpoint: EndpointSpec) -> tuple[int, ...] | None:
        """IP versions of the addresses an attach would give; None if only the IPAM knows. No effects."""
        from cni_cnm.cnm.network import network_description

        return network_description.families(network, endpoint, self.host)
