"""The steps of one attachment, in both directions. Each can be repeated. The caller holds the endpoint's lock."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import interface_tuning
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.interface import shaping
from cni_cnm.cnm.interface.configure_interface import LOOPBACK
from cni_cnm.cnm.packet_filter import endpoint_elements, foreign_accepts
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import PENDING, READY, load_endpoint
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.cnm.sandbox.sandbox_endpoints import leave_sandbox, record_member
from cni_cnm.drivers import drivers
from cni_cnm.firewall import portmap
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.reference import change, limits, names
from cni_cnm.reference.saved_tuning import SavedTuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.adopt.living import Living
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.cache import Cached
    from cni_cnm.reference.host_rules import HostRules


def record(host: Host, living: Living) -> None:
    """Write the record of a living interface, and put its elements into the packet filter beside the plugins' rules.

    PortTaken if another endpoint of this program has one of its ports; then nothing is left of it.
    """
    endpoint, driver = LockedEndpoint(host, living.record), drivers.get(living.record.driver)
    made, policy = endpoint.record, endpoint.policy
    earlier = load_endpoint(host.store, made.id)
    if earlier is not None and earlier.epoch == host.epoch:  # of a killed run, or of an interface that is gone
        withdraw_elements(host, earlier)
    with Rollback() as undo:
        undo.push_record_removal(endpoint.delete_record)
        endpoint.write(state=PENDING)
        with host.namespaces.open(made.netns) as stack:
            stack.set_link(LOOPBACK, up=True)
        undo.push(lambda: leave_sandbox(host, made, delete_empty=True))
        record_member(host, made, living.gateways)
        undo.push(lambda: driver.repair_endpoint(made.options, made.plan._replace(publishes=False), host.stack))
        driver.repair_endpoint(made.options, made.plan, host.stack)
        if made.ports and made.device is not None and made.device.host:
            host.stack.set_sysctls(portmap.sysctls(made.device.host[0].name, made.portmap))
        undo.push(lambda: withdraw_elements(host, made))
        enforce_endpoint(host, made, policy)
        endpoint.write(state=READY)


def remove_rules(attachment: Attachment, seen: HostRules) -> None:
    """Remove the plugins' rules, also if a killed run has removed some. The limits stay: they are the same.

    `seen`: the host's rules, read once for many attachments.
    """
    change.remove_rules(attachment._replace(not_understood=()), seen)


def as_made_by_plugins(found: Attachment, made: EndpointRecord) -> Attachment:
    """The attachment as the plugins would have made it: with their limits, link names and saved settings."""
    asked = found.configuration
    ifb = names.ifb(found.key)
    wanted = limits.wanted(asked.bandwidth, found.host_link, ifb) if asked.bandwidth is not None else None
    saved = found.tuning
    if saved is None and asked.tuning is not None and asked.tuning.saves and made.tuning_before is not None:
        before = made.tuning_before
        saved = SavedTuning(before.mac or "", before.promisc, before.mtu or 0, before.allmulti, before.txqlen)
    return found._replace(cached=_renamed(found.cached, made, ifb), limits=wanted, tuning=saved, not_understood=())


def _renamed(cached: Cached, made: EndpointRecord, ifb: str) -> Cached:
    """libcni's file with the name that the plugin bandwidth gives the ifb. An endpoint of this program has another."""
    own = interface_tuning.ifb_of(made)
    links = [{**link, "name": ifb} if link.get("name") == own else link for link in cached.result.get("interfaces", ())]
    return cached._replace(result={**cached.result, "interfaces": links}) if links else cached


def remove_own_ifb(host: Host, made: EndpointRecord, attachment: Attachment) -> None:
    """The ifb of an endpoint of this program, when the plugins' one is in use."""
    own = interface_tuning.ifb_of(made)
    if own != names.ifb(attachment.key):
        shaping.remove(host.stack, own)


def write_rules(host: Host, attachment: Attachment) -> None:
    """Make the plugins' rules, limits and saved settings, beside this program's elements."""
    change.write(attachment, host.stack)


def forget(host: Host, made: EndpointRecord) -> None:
    """Remove elements and record of an interface that the reference plugins have again. Connections stay."""
    driver, endpoint = drivers.get(made.driver), LockedEndpoint(host, made)
    endpoint.write(state=PENDING)  # else a killed run would leave a record that is ready, without its elements
    withdraw_elements(host, made)
    driver.repair_endpoint(made.options, made.plan._replace(publishes=False), host.stack)
    leave_sandbox(host, made, delete_empty=True)
    pool = pool_of(host, made)
    if not isinstance(pool, HostLocal):
        endpoint.delete_record()
        return
    with pool.leases:
        pool.leases.void_index()
        endpoint.delete_record()


def withdraw_elements(host: Host, made: EndpointRecord) -> None:
    """Those keyed by its addresses included; what the kernel tracks of its connections stays."""
    policy = made.policy
    foreign_accepts.withdraw_endpoint(host, made, policy)
    held = frozenset(address.interface.ip for address in made.addresses)
    endpoint_elements.withdraw(lambda: host.nft, made, policy, held)
