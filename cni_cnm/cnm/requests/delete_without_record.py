"""DEL of an endpoint without a record: nothing was made, or another plugin made it under this name.

The first is the usual case, because runtimes send a DEL before every ADD: it costs one look at the leases and one at
nftables. The second is a container that the reference plugins attached before the configuration's `type` was changed:
its link, leases and rules are removed.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.drivers import drivers
from cni_cnm.errors import NamespaceGone, raise_gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec


def delete(host: Host, key: EndpointKey, spec: EndpointSpec | None, ipam_spec: IpamSpec) -> None:
    """Every step is tried; their errors are raised together."""
    gathered = ErrorList()
    leased: set[IPAddress] = set()
    found = False

    def last(addresses: frozenset[IPAddress]) -> None:
        leased.update(addresses)

    def link() -> None:
        nonlocal found
        found = spec is not None and bool(spec.netns) and _remove_link(host, spec)

    environ = spec.environ if spec else {}
    gathered.attempt(link)
    gathered.attempt(lambda: ipam.release_unrecorded(key.network, ipam_spec, key, environ, last, host))
    gathered.attempt(lambda: _remove_rules(host, key, spec, leased, everywhere=found or bool(leased)))
    raise_gathered(gathered.errors)


def _remove_link(host: Host, spec: EndpointSpec) -> bool:
    try:
        target = host.namespaces.open(spec.netns)
    except NamespaceGone:
        return False
    with target:
        link = target.link(spec.ifname)
        if link is None or not any(link.kind in drivers.get(name).link_kinds for name in drivers):
            return False  # it was not made for this container alone
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
