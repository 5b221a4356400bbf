"""Controller: the entry to the Container Network Model on this host.

    Controller ── networks by name, id, id prefix ── Network ── Endpoint ─┐ joins
               └─ sandboxes by container ─────────── Sandbox ◄────────────┘

Nothing is held in memory between calls: every method reads the records, so any number of processes and threads use the
same networks at once, and a restart has nothing to restore.
"""

from __future__ import annotations

from contextlib import nullcontext
from ipaddress import ip_network

from cni_cnm import ipam
from cni_cnm.cnm.objects import network as networks
from cni_cnm.cnm.objects import shared_parent
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.records import NetworkRecord, SandboxRecord
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.drivers import DEFAULT, drivers
from cni_cnm.errors import Forbidden, InvalidConfig, NoSuchNetwork, NoSuchSandbox
from cni_cnm.model import IpamSpec, NetworkSpec
from cni_cnm.state.files import NETWORKS, SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cni_cnm.drivers import Options
    from cni_cnm.kernel import ForeignFirewalls, Namespaces, Nft, Stack
    from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, IPNetwork, Json
    from cni_cnm.settings import Settings
    from cni_cnm.state.files import FileStore


class Controller:
    """Made by `wiring.open_controller`, which picks the real kernel and store; tests hand in others."""

    def __init__(
        self,
        settings: Settings,
        store: FileStore,
        namespaces: Namespaces,
        nft: Callable[[], Nft],
        epoch: str,
        others: ForeignFirewalls | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.namespaces = namespaces
        self.epoch = epoch
        self.others = others
        """Other programs' firewalls; None: there are none."""
        self._open_nft = nft
        self._nft: Nft | None = None
        self._host: Stack | None = None

    @property
    def host(self) -> Stack:
        """The namespace networks live in, opened when first needed."""
        if self._host is None:
            self._host = self.namespaces.host()
        return self._host

    @property
    def nft(self) -> Nft:
        if self._nft is None:
            self._nft = self._open_nft()
        return self._nft

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

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
        if not name or not name[0].isalnum() or not all(c.isalnum() or c in "_.-" for c in name) or not name.isascii():
            raise InvalidConfig(
                f"{name!r} is no network name", hint="letters, digits, '_', '.', '-', beginning with the first two"
            )
        if ipam_type is None:
            ipam_type = "host-local" if drivers.get(driver).configuration.addresses else ""
        spec = NetworkSpec(
            name, driver, options or {}, IpamSpec(ipam_type, ipam_config or {}), internal, labels=labels or {}
        )
        if drivers.get(driver).uses_existing_interface:
            raise InvalidConfig(
                f"a network of the driver {driver} cannot be made, its interfaces are other plugins'",
                hint="it follows from a CNI configuration behind one of those",
            )
        parsed = drivers.get(driver).options(spec)
        with self.store.lock(f"network/{name}"):
            raw = self.store.get(NETWORKS, name)
            if raw and not raw.get("pending"):
                raise networks.duplicate(name)
            if raw:
                Network(self, NetworkRecord.from_json(raw)).erase()
            return self.realize(spec, parsed)

    def networks(self) -> Iterator[Network]:
        """By name."""
        for name in self.store.names(NETWORKS):
            raw = self.store.get(NETWORKS, name)
            if raw:
                yield Network(self, NetworkRecord.from_json(raw))

    def walk_networks(self, visit: Callable[[Network], bool]) -> None:
        """Call `visit` for each network until it returns True."""
        for network in self.networks():
            if visit(network):
                return

    def network(self, name_or_id: str) -> Network:
        """By name, by id, or by an id prefix that only one network has."""
        raw = self.store.get(NETWORKS, name_or_id) if name_or_id and "/" not in name_or_id else None
        if raw:
            return Network(self, NetworkRecord.from_json(raw))
        found = [network for network in self.networks() if name_or_id and network.id.startswith(name_or_id)]
        if len(found) > 1:
            raise NoSuchNetwork(
                f"{name_or_id!r} is the beginning of {len(found)} network ids: {', '.join(n.name for n in found)}"
            )
        if not found:
            raise NoSuchNetwork(f"there is no network {name_or_id!r}", hint="`cni-cnm network ls` lists them")
        return found[0]

    def allow(self, one: str, other: str) -> None:
        """Open two networks to each other (names, ids, id prefixes), until `revoke` or until one is deleted."""
        from cni_cnm.cnm.packet_filter import firewall_reconcile

        firewall_reconcile.allow(self, self.network(one).record, self.network(other).record)

    def revoke(self, one: str, other: str) -> None:
        """Close them to each other again, at once also for connections that exist; not open is done."""
        from cni_cnm.cnm.packet_filter import firewall_reconcile

        firewall_reconcile.revoke(self, self.network(one).record, self.network(other).record)

    def realize(self, spec: NetworkSpec, options: Options) -> Network:
        """Make what a specification asks for, on the host and on record. The caller holds the network's lock."""
        if not networks.allocated_once(spec):
            return self._realize(spec, options, dict(spec.ipam.config))
        if networks.names_no_subnet(spec):
            with self.store.lock("pools"):  # until the record stands: two networks created at once choose differently
                return self._realize(spec, options, {**spec.ipam.config, **self._choose_subnets(spec)})
        drivers.get(spec.driver).validate(options, self.host)
        # Named subnets need no choice, and a plugin may take its time.
        named = spec.ipam.config.get("subnet") or spec.ipam.config.get("ranges")
        with nullcontext() if named else self.store.lock("pools"), Rollback() as undo:
            skipped = drivers.get(spec.driver).skips_gateways(options)
            given = ipam.allocate(spec.ipam, _families(spec), skipped, self._used())
            config = {**spec.ipam.config, **given}
            taken = spec.ipam._replace(config=config)
            undo.push_forgetting(lambda: ipam.free(spec.name, taken, self.settings))
            return self._realize(spec, options, config, skipped)

    def _realize(
        self,
        spec: NetworkSpec,
        options: Options,
        config: Mapping[str, Json],
        skipped: frozenset[int] | None = None,
    ) -> Network:
        """`skipped`: IP versions of which the driver wants no gateway, from whoever has asked it already."""
        driver = drivers.get(spec.driver)
        pool = ipam.configure(spec.name, spec.ipam._replace(config=config), None, self.settings)
        driver.validate(options, self.host)
        skipped = driver.skips_gateways(options) if skipped is None else skipped
        subnets = [one._replace(gateway=None) if one.pool.version in skipped else one for one in ipam.subnets(pool)]
        record = networks.describe(spec, options, config)
        with shared_parent.lock(self, record), Rollback() as undo:
            shared_parent.refuse_clash(self, record)
            if driver.role(options).interface == "moved":  # whatever a plugin does of this, it can be taken back
                undo.push_forgetting(lambda: self.store.delete(NETWORKS, spec.name))
                self.store.put(NETWORKS, spec.name, record._replace(pending=True).to_json())
            made = driver.create_network(options, subnets, self.host)
            record = record._replace(made=made)
            if made:
                undo.push(lambda: shared_parent.dismantle(self, record))
            self.store.put(NETWORKS, spec.name, record.to_json())
        return Network(self, record)

    def _choose_subnets(self, spec: NetworkSpec) -> dict[str, Json]:
        """A subnet a family that overlaps no other network's and no route of the host."""
        return {"ranges": [[{"subnet": str(self.choose_subnet(family))}] for family in _families(spec)]}

    def choose_subnet(self, family: int) -> IPNetwork:
        """From the default pools, used by nobody yet. The caller holds the lock `pools` until it is on record."""
        return ipam.choose_subnet(family, self.settings, self._used())

    def _used(self) -> list[IPNetwork]:
        """Subnets of other networks, those Docker has requested, and what the host has routes to."""
        from cni_cnm.state.files import POOLS

        used: list[IPNetwork] = [subnet for network in self.networks() for subnet in networks.subnets(network.record)]
        for name in self.store.names(POOLS):
            raw = self.store.get(POOLS, name)
            used += [ip_network(raw["subnet"])] if raw else []
        return [*used, *(route.dst for route in self.host.routes() if route.dst.prefixlen)]

    # attachments, for doors that speak in one breath ------------------------

    def attach(self, network: NetworkSpec, endpoint: EndpointSpec) -> Attachment:
        """Network get-or-create, endpoint, join: all or nothing. The same `request_id` again gives the same answer."""
        from cni_cnm.cnm.requests import attachment

        return attachment.attach(self, network, endpoint)

    def detach(self, key: EndpointKey, endpoint: EndpointSpec | None, ipam_spec: IpamSpec | None) -> Sequence[str]:
        """Take an endpoint down: from its record, or what little is known of one without. Nothing there is success.

        Sentences about what a plugin complained of.
        """
        from cni_cnm.cnm.requests import attachment

        return attachment.detach(self, key, endpoint, ipam_spec)

    def check(self, network: NetworkSpec, endpoint: EndpointSpec, previous: Attachment | None) -> None:
        """CheckFailed naming what differs between the record and the kernel. Writes nothing."""
        from cni_cnm.cnm.requests import attachment

        attachment.check(self, network, endpoint, previous)

    def collect(
        self, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str]
    ) -> Sequence[str]:
        """Take down what the owner has on the network beside `valid`; sentences about what others own."""
        from cni_cnm.cnm.requests import attachment

        return attachment.collect(self, network, owner, valid, environ)

    def status(self, network: NetworkSpec, *, exhausted_is_error: bool) -> Sequence[str]:
        """Warnings about what would keep an attach from working; NotReady if nothing could work."""
        from cni_cnm.cnm.requests import attachment

        return attachment.status(self, network, exhausted_is_error=exhausted_is_error)

    def families(self, network: NetworkSpec, endpoint: EndpointSpec) -> tuple[int, ...] | None:
        """IP versions of the addresses an attach would give, None if only IPAM itself knows."""
        if networks.names_no_subnet(network) and not endpoint.ranges:
            return _families(network)
        return ipam.configure(network.name, network.ipam, endpoint, self.settings).families

    # sandboxes --------------------------------------------------------------

    def new_sandbox(self, container_id: str, netns: str) -> Sandbox:
        """The sandbox of a container whose network namespace is at `netns`. One a container (Forbidden)."""
        if not container_id or "\0" in container_id:
            raise InvalidConfig(f"{container_id!r} is no container id")
        self.namespaces.open(netns).close()
        sandbox = Sandbox(self, container_id, netns)
        if sandbox.record is not None:
            raise Forbidden(f"the container {container_id} has a sandbox already")
        sandbox.register()
        return sandbox

    def sandboxes(self) -> Iterator[Sandbox]:
        for name in self.store.names(SANDBOXES):
            raw = self.store.get(SANDBOXES, name)
            record = SandboxRecord.from_json(raw) if raw else None
            if record and record.epoch == self.epoch:
                yield Sandbox(self, record.container_id, record.netns)

    def sandbox(self, container_id: str) -> Sandbox:
        record = Sandbox(self, container_id, "").record
        if record is None:
            raise NoSuchSandbox(f"the container {container_id} has no sandbox")
        return Sandbox(self, container_id, record.netns)


def _families(spec: NetworkSpec) -> tuple[int, ...]:
    """Of the subnets that are chosen for a network."""
    return (4, 6) if spec.options.get("enableipv6") else (4,)
