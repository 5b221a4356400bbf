"""DEL of an endpoint that nobody has on record: nothing was ever made, or another plugin made it under this name.

The first is the usual case (runtimes send a DEL before every ADD) and must cost nothing; the second is a container that
the reference plugins attached before the configuration's `type` was changed: its link, leases and rules go.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.drivers import drivers
from cni_cnm.errors import NamespaceGone, raise_gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec


def remove(controller: Controller, key: EndpointKey, spec: EndpointSpec | None, ipam_spec: IpamSpec) -> None:
    """Every step, whatever fails; errors gathered."""
    gathered = ErrorList()
    leased: set[IPAddress] = set()
    found = False

    def last(addresses: frozenset[IPAddress]) -> None:
        leased.update(addresses)

    def link() -> None:
        nonlocal found
        found = spec is not None and bool(spec.netns) and _remove_link(controller, spec)

    environ = spec.environ if spec else {}
    gathered.attempt(link)
    gathered.attempt(lambda: ipam.release_unrecorded(key.network, ipam_spec, key, environ, last, controller.settings))
    gathered.attempt(lambda: _remove_rules(controller, key, spec, leased, everywhere=found or bool(leased)))
    raise_gathered(gathered.errors)


def _remove_link(controller: Controller, spec: EndpointSpec) -> bool:
    try:
        target = controller.namespaces.open(spec.netns)
    except NamespaceGone:
        return False
    try:
        link = target.link(spec.ifname)
        if link is None or not any(link.kind in drivers.get(name).link_kinds for name in drivers):
            return False  # it was not made for this container alone
        target.delete_link(link.ifindex)
        return True
    finally:
        target.close()


def _remove_rules(
    controller: Controller, key: EndpointKey, spec: EndpointSpec | None, leased: set[IPAddress], *, everywhere: bool
) -> None:
    """Of nftables, which is asked by one look; in iptables, which takes processes, only where there was something."""
    from cni_cnm.firewall import reference

    rules = controller.nft.commented(reference.TABLES, reference.names(key))
    if rules:
        controller.nft.remove_rules(*reference.own_rules(rules, key, _kept(controller, spec)))
    if everywhere or rules:
        _remove_from_iptables(key, frozenset(map(str, leased)))


def _kept(controller: Controller, spec: EndpointSpec | None) -> set[IPAddress]:
    """The addresses that the container has on its other interfaces."""
    if spec is None or not spec.netns:
        return set()
    try:
        target = controller.namespaces.open(spec.netns)
    except NamespaceGone:
        return set()
    try:
        links = [link for link in target.links() if link.name != "lo"]
        return {address.ip for link in links for address in target.addresses(link.ifindex)}
    finally:
        target.close()


def _remove_from_iptables(key: EndpointKey, addresses: frozenset[str]) -> None:
    from cni_cnm.firewall import reference
    from cni_cnm.kernel import iptables

    own = reference.chains(key.network, key.container_id)
    for family in iptables.FAMILIES:
        iptables.rewrite(family, lambda saved: reference.removal(saved, own, addresses))
