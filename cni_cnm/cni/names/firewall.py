"""The plugin `firewall`: who may open connections to the containers of a network, and what other firewalls accept."""

from __future__ import annotations

from cni_cnm.cni.names.chained_plugin import verbs
from cni_cnm.firewall import foreign_accept, isolation
from cni_cnm.kernel import firewalld
from cni_cnm.model import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation

_ADMIN_CHAIN = "CNI-ADMIN"
_POLICIES = (isolation.OPEN, isolation.SAME_BRIDGE, isolation.ISOLATED)


def _parse(invocation: Invocation) -> Part | None:
    config = invocation.config
    policy = config.text("ingressPolicy") or isolation.OPEN
    if policy not in _POLICIES:
        raise config.wrong("ingressPolicy", f"one of {', '.join(_POLICIES)}")
    found = {
        "ingresspolicy": policy,
        "firewalldzone": firewalld.parse_zone(config.text("firewalldZone")),
        "iptablesadminchainname": foreign_accept.parse_chain(config.text("iptablesAdminChainName") or _ADMIN_CHAIN),
    }
    return Part("firewall", policy={key: value for key, value in found.items() if value})


VERBS = verbs(_parse, "missing prevResult from earlier plugin")
