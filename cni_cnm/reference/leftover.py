"""What one reference plugin has left of one container, looked for after its DEL has failed. It changes nothing.

    interface plugins    the interface in the container
    portmap              a chain or rules of its published ports
    firewall             rules of an address that the interface has
    bandwidth            the ifb
    tuning               the saved attributes of an interface that is there

What sbr makes is in the container's namespace alone, and ends with it.
"""

from __future__ import annotations

from cni_cnm.errors import NamespaceGone
from cni_cnm.reference import host_rules, names, nftables_form, saved_tuning
from cni_cnm.reference.configuration import Tuning
from cni_cnm.reference.iptables_form import FORWARD
from cni_cnm.reference.untouched import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields
    from cni_cnm.kernel import Namespaces, Stack
    from cni_cnm.model import EndpointKey


def find(plugin: str, key: EndpointKey, netns: str, config: Fields, namespaces: Namespaces) -> str:
    """What is left, in a few words; "" if nothing is found. CnmError where the host cannot be read.

    `netns`: the path of the container's namespace; "" if there is none. `config`: the plugin's configuration.
    """
    if plugin == "portmap":
        return _of_portmap(key)
    if plugin == "bandwidth":
        return _of_bandwidth(key, namespaces)
    if not netns:
        return ""
    try:
        target = namespaces.open(netns)
    except NamespaceGone:
        return ""
    with target:
        link = target.link(key.ifname)
        if link is None:
            return ""
        if plugin == "firewall":
            return _of_firewall(target, link.ifindex)
        if plugin == "tuning":
            path = saved_tuning.path(key, config.text("dataDir") or Tuning().data_dir)
            return path if saved_tuning.read(path) is not None else ""
    return f"{key.ifname} in {netns}" if plugin in INTERFACE else ""


def _of_portmap(key: EndpointKey) -> str:
    seen, chain = host_rules.read(), names.ports_chain(key)
    if chain in seen.elsewhere or any(chain == name for _, name in seen.chains):
        return f"the chain {chain} of iptables"
    for found in seen.named(names.nft_ports_comment(key)):
        if found.rule.table in nftables_form.HOST_PORTS.values():
            return f"rules of the container in the table {found.rule.table} of nftables"
    return ""


def _of_bandwidth(key: EndpointKey, namespaces: Namespaces) -> str:
    with namespaces.host() as stack:
        return f"the link {names.ifb(key)}" if stack.link(names.ifb(key)) is not None else ""


def _of_firewall(target: Stack, index: int) -> str:
    hosts = [f"{one.ip}/{one.max_prefixlen}" for one in target.addresses(index)]
    seen = host_rules.read()
    with_rules = [host for host in hosts if seen.named(host)]
    return f"rules of {', '.join(with_rules)} in the chain {FORWARD} of iptables" if with_rules else ""
