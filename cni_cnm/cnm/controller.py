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
    from os import PathLike

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.list_requests import ListRequests
    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.cnm.objects.sandbox import Sandbox
    from cni_cnm.kernel import Namespaces
    from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, IpamSpec, Json, NetworkSpec


class Controller:
    """The networks, endpoints and sandboxes of one host.

    `open_controller` makes one. Any number of threads may use it at once, and any number of processes have one each.
    It is a context manager; at the end of the block it is closed.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        """Settings, records and kernel of this host, for what is built on the steps behind the objects."""

    def __repr__(self) -> str:
        return f"<Controller {self.host.settings.state_dir} {self.host.settings.run_dir}>"

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def namespaces(self) -> Namespaces:
        """Opens network namespaces by their paths."""
        return self.host.namespaces

    def close(self) -> None:
        """Close the sockets that are open, those of all threads. One that is used again opens them again."""
        self.host.close()

    def take_notes(self) -> Sequence[str]:
        """Which records the calls of this thread have left out, because they cannot be read.

        A damaged record of one network or endpoint stops no call for another one: lists leave it out, and what it
        names stays as it is.

        Returns:
            Sequence[str]: a sentence for each record that was left out since the last `take_notes` of this thread.
        """
        from cni_cnm.state import record_reader

        return record_reader.take_notes()

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
        allow_overlap: bool = False,
        dns: bool = False,
        dns_servers: Sequence[str] = (),
    ) -> Network:
        """Make a network: its record, its data path and its part of the packet filter. All of it or nothing.

        Args:
            name: unique on this host; letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 200.
            driver: `bridge`, `macvlan`, `ipvlan`, `ptp`, `host-device`, `overlay`, `null`, `host`, or the name of a
                Docker plugin.
            options: what the driver reads, with the keys of a CNI configuration in any capitals
                (docs/configuration.md), such as `{"mtu": 1400}`; libnetwork's labels are one of them, `labels`.
            ipam_type: where addresses come from; by default `host-local`, or nothing for a driver without addresses.
                "" is a network without addresses.
            ipam_config: what the IPAM reads, such as `{"subnet": "10.1.0.0/16"}`. A route may be text,
                '10.9.0.0/16 via 10.1.0.9'. Without a subnet one is chosen from the default address pools, and of the
                driver `overlay` the network that other hosts have is joined.
            internal: nothing outside the network is reached from it.
            labels: metadata that is recorded and shown.
            allow_overlap: make it although another network or the host has some of its subnets.
            dns: the names of its containers are answered at its gateways (docs/names.md).
            dns_servers: addresses of the servers that other questions go to; by default those of the host.

        Raises:
            InvalidConfig: an argument is wrong, or the driver or the IPAM does not read a key.
            Conflict: there is a network of that name, a link of the host stands in the way, or another network or the
                host has some of its subnets.
            NoSuchDriver: no driver or IPAM is called so.
            AddressesExhausted: the default address pools have no subnet left.
            KernelFeatureMissing: this kernel lacks what the driver needs.
            DirectoryUnreachable: the store of the cluster does not answer (driver `overlay`).
        """
        from cni_cnm.cnm.objects import creation

        return creation.new_network(
            self.host,
            name,
            driver=driver,
            options=options,
            ipam_type=ipam_type,
            ipam_config=ipam_config,
            internal=internal,
            labels=labels,
            allow_overlap=allow_overlap,
            dns=dns,
            dns_servers=dns_servers,
        )

    def networks(self) -> Iterator[Network]:
        """All networks, by name."""
        from cni_cnm.cnm.objects import lookup

        return lookup.networks(self.host)

    def walk_networks(self, visit: Callable[[Network], bool]) -> None:
        """Call `visit` for each network until it returns True, as libnetwork's WalkNetworks does."""
        any(map(visit, self.networks()))

    def network(self, name_or_id: str) -> Network:
        """Find a network.

        Args:
            name_or_id: its name, its id, or the beginning of an id that only one network has.

        Raises:
            NoSuchNetwork: none or more than one is called so.
        """
        from cni_cnm.cnm.objects import lookup

        return lookup.find_network(self.host, name_or_id)

    def allow(self, one: str | Network, other: str | Network) -> None:
        """Open two networks to each other. They stay so, over reboots, until `revoke` or until one is deleted.

        Args:
            one: a network, or what `network` finds one by.
            other: likewise.

        Raises:
            NoSuchNetwork: one of them is not there.
            InvalidConfig: they are one network, or one is not isolated by the packet filter.
        """
        from cni_cnm.cnm.objects.lookup import find_network
        from cni_cnm.cnm.packet_filter import allow_networks

        pair = find_network(self.host, one).record, find_network(self.host, other).record
        allow_networks.allow(self.host, *pair)
        if any(network.names is not None for network in pair):
            self._renew_names()

    def revoke(self, one: str | Network, other: str | Network) -> None:
        """Close two networks to each other, also for connections that exist. No error if they are not open.

        Args:
            one: a network, or what `network` finds one by.
            other: likewise.

        Raises:
            NoSuchNetwork: one of them is not there.
        """
        from cni_cnm.cnm.objects.lookup import find_network
        from cni_cnm.cnm.packet_filter import allow_networks

        pair = find_network(self.host, one).record, find_network(self.host, other).record
        allow_networks.revoke(self.host, *pair)
        if any(network.names is not None for network in pair):
            self._renew_names()

    def _renew_names(self) -> None:
        """Networks answer the names of those that are open to them."""
        from cni_cnm.cnm.reconcile import names
        from cni_cnm.cnm.reconcile.changed import EVERYTHING

        for difference in names.compare(self.host, EVERYTHING):
            names.repair(self.host, difference)

    # sandboxes --------------------------------------------------------------

    def new_sandbox(self, container_id: str, netns: str | PathLike[str]) -> Sandbox:
        """Record the network namespace of a container, for endpoints to join.

        Args:
            container_id: unique on this host; 1 to 255 printable characters.
            netns: path of the namespace, such as '/run/netns/red' or '/proc/1234/ns/net'. It must be there.

        Raises:
            InvalidConfig: an argument is wrong.
            Forbidden: the container has a sandbox.
            NamespaceGone: there is no network namespace at the path.
        """
        from cni_cnm.cnm.objects import creation

        return creation.new_sandbox(self.host, container_id, netns)

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes since the host has started, in the order of their ids."""
        from cni_cnm.cnm.objects import lookup

        return lookup.sandboxes(self.host)

    def sandbox(self, container_id: str) -> Sandbox:
        """Find the sandbox of a container.

        Raises:
            NoSuchSandbox: it has none.
        """
        from cni_cnm.cnm.objects import lookup

        return lookup.find_sandbox(self.host, container_id)

    # whole requests, for a frontend whose calls are one attachment each -------

    def attach(self, network: NetworkSpec, endpoint: EndpointSpec) -> Attachment:
        """Get or create the network, create the endpoint, join the sandbox. All of it or nothing.

        The network's record is changed to the specification if that differs from it and live endpoints allow it.

        Args:
            network: the network as it is to be.
            endpoint: the endpoint, its container and its namespace. The same `request_id` again is the same request,
                and gets the same answer.

        Returns:
            Attachment: what the container got.

        Raises:
            InvalidConfig: a specification is wrong, or live endpoints do not allow the change.
            Conflict: the container has that interface already.
            AddressesExhausted: no address is free.
            TryAgain: a lock was held for 50 s.
            CnmError: any other failure; nothing is left of the endpoint.
        """
        from cni_cnm.cnm.requests.attach import attach

        return attach(self.host, network, endpoint)

    def detach(self, key: EndpointKey, endpoint: EndpointSpec | None, ipam_spec: IpamSpec | None) -> Sequence[str]:
        """Take an endpoint down, from its record. Without one, remove what another plugin made under its name.

        No error if there is nothing.

        Args:
            key: the endpoint.
            endpoint: its container and namespace, as far as the caller knows them.
            ipam_spec: the IPAM of the configuration, for an endpoint without a record.

        Returns:
            Sequence[str]: what plugins refused, one sentence each.

        Raises:
            CnmError: a step failed; the others were tried, and the record stays for the next call.
        """
        from cni_cnm.cnm.requests.detach import detach

        return detach(self.host, key, endpoint, ipam_spec)

    def check(self, network: NetworkSpec, endpoint: EndpointSpec, previous: Attachment | None) -> Sequence[str]:
        """Compare an endpoint's record with the kernel, and with the result the caller has. Writes nothing.

        Args:
            network: the network.
            endpoint: the endpoint, its container and its namespace.
            previous: what `attach` returned.

        Returns:
            Sequence[str]: warnings about what does not differ, and may keep the endpoint from working.

        Raises:
            CheckFailed: the first difference that was found.
        """
        from cni_cnm.cnm.requests.check import check

        return check(self.host, network, endpoint, previous)

    def collect(
        self, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str]
    ) -> Sequence[str]:
        """Take down the endpoints of a network that their owner does not list.

        Args:
            network: the network.
            owner: whose endpoints are meant; those of others stay.
            valid: the owner's endpoints that stay.
            environ: CNI's environment, for an IPAM executable.

        Returns:
            Sequence[str]: notes, such as how many endpoints other owners have.

        Raises:
            Several: more than one endpoint could not be taken down.
        """
        from cni_cnm.cnm.requests.collect import collect

        return collect(self.host, network, owner, valid, environ)

    def status(self, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
        """Say whether an `attach` could be served now. Changes nothing.

        Args:
            network: the network.
            exhausted_is_error: raise NotReady if no address is free.

        Returns:
            Sequence[str]: warnings.

        Raises:
            NotReady: no attach can work.
        """
        from cni_cnm.cnm.requests.status import status

        return status(self.host, network, exhausted_is_error=exhausted_is_error)

    def families(self, network: NetworkSpec, endpoint: EndpointSpec) -> tuple[int, ...] | None:
        """The IP versions of the addresses that an `attach` would give, in order. Changes nothing.

        Args:
            network: the network.
            endpoint: the endpoint.

        Returns:
            tuple[int, ...] | None: None if only the IPAM itself knows.
        """
        from cni_cnm.cnm.network import configured_network

        return configured_network.families(network, endpoint, self.host)

    @property
    def lists(self) -> ListRequests:
        """What plugins of one list request: parts of an endpoint, and addresses without one."""
        from cni_cnm.cnm.list_requests import ListRequests

        return ListRequests(self.host)
