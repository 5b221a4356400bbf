"""DEL of an endpoint without a record: nothing was made, or another plugin made it under this name.

The first is the usual case, because runtimes send a DEL before every ADD: it costs one look at the leases and one at
nftables. The second is a container that the reference plugins attached before the configuration's `type` was changed:
its link, leases, rules and limits are removed.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import endpoint_record
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.drivers import drivers
from cni_cnm.errors import NamespaceGone, NoSuchDriver, raise_gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec


def delete(host: Host, key: EndpointKey, spec: EndpointSpec | None, ipam_spec: IpamSpec | None) -> Sequence[str]:
    """Every step is tried; their errors are raised together. Returns notes on what was left alone.

    `ipam_spec` None: no address was leased.
    """
    gathered = ErrorList()
    leased: set[IPAddress] = set()
    found: list[bool] = []

    def before_release(addresses: frozenset[IPAddress]) -> None:
        leased.update(addresses)
        found.append(spec is not None and _remove_link(host, key, spec, addresses))

    def release() -> None:
        if ipam_spec is None:
            return
        try:
            environ = spec.environ if spec else {}
            ipam.release_unrecorded(key.network, ipam_spec, key, environ, before_release, host)
        except NoSuchDriver as error:  # an ADD is refused for the same reason, so it made nothing
            gathered.notes.append(f"no address was released: {error.msg}")

    gathered.attempt(release)
    if not found:
        gathered.attempt(lambda: before_release(frozenset()))
    if ipam_spec is not None:
        gathered.attempt(lambda: _remove_rules(host, key, spec, leased, everywhere=any(found) or bool(leased)))
    raise_gathered(gathered.errors)
    return gathered.notes


def _remove_link(host: Host, key: EndpointKey, spec: EndpointSpec, leased: frozenset[IPAddress]) -> bool:
    """Remove the interface if it is this endpoint's: it has a leased address, or the MAC that follows from its name.

    Another plugin's may be there after an ADD that was refused, and another container's at a path that is used again.
    """
    try:
        target = host.namespaces.open(spec.netns)
    except NamespaceGone:
        return False
    with target:
        link = target.link(spec.ifname)
        if link is None or not any(link.kind in drivers.get(name).link_kinds for name in drivers):
            return False  # it was not made for this container alone
        if link.mac not in endpoint_record.derived_macs(key.id) and not (
            leased and leased & {address.ip for address in target.addresses(link.ifindex)}
        ):
            return False
        target.delete_link(link.ifindex)
        return True


def _remove_rules(
    host: Host, key: EndpointKey, spec: EndpointSpec | None, leased: set[IPAddress], *, everywhere: bool
) -> None:
    """In nftables; in iptables, which starts processes, only if a lease, a link (`everywhere`) or a rule was found."""
    from cni_cnm.firewall import reference

    rules = host.nft.commented(reference.TABLES, reference.names(key))
    if rules:
        host.nft.remove_rules(*reference.own_rules(rules, key, _kept(host, spec)))
    if everywhere or rules:
        _remove_from_iptables(key, frozenset(map(str, leased)))
        _remove_settings(host, key)


def _remove_settings(host: Host, key: EndpointKey) -> None:
    """The ifb that limits what the container sends, and what the plugin tuning has saved.

    The ifb's name says nothing of the interface: another one of the container, on this network, may be in use with it.
    """
    from cni_cnm.cnm.interface import shaping
    from cni_cnm.reference import names, saved_tuning
    from cni_cnm.reference.configuration import Tuning

    holder = (key.network, key.container_id)
    if not any((one.network, one.container_id) == holder for one in endpoint_records(host.store)):
        shaping.remove(host.stack, names.ifb(key))
    saved_tuning.remove(saved_tuning.path(key, Tuning().data_dir))


def _kept(host: Host, spec: EndpointSpec | None) -> set[IPAddress]:
    """The addresses that the container has on its other interfaces."""
    if spec is None or not spec.netns:
        return set()
    try:
        target = host.namespaces.open(spec.netns)
    except NamespaceGone:
        return set()
    with target:
        links = [link for link in target.links() if link.name != "lo"]
        return {address.ip for link in links for address in target.addresses(link.ifindex)}


def _remove_from_iptables(key: EndpointKey, addresses: frozenset[str]) -> None:
    from cni_cnm.firewall import reference
    from cni_cnm.kernel import iptables

    own = reference.chains(key.network, key.container_id)
    for family in iptables.FAMILIES:
        iptables.rewrite(family, lambda saved: reference.removal(saved, own, addresses))
