"""The rules of bridge ports with hairpin (firewall/reflection.py): they have no elements, and are declared once.

They are not compared at every ADD, as other chains are: without them broadcasts are reflected, and nothing else. What
deletes all of our tables takes them along, and they come back with the others.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import firewall_state
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.firewall import reflection
from cni_cnm.kernel import Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host


def declare(host: Host) -> str:
    """Write the rules. Returns "", or the kernel's reason why there are none."""
    try:
        host.nft.commit(Transaction(reflection.DECLARE), declare=True)
    except (KernelError, KernelFeatureMissing) as error:
        return error.msg
    return ""


def declare_once(host: Host) -> tuple[str, ...]:
    """Write the rules and record that. Returns a warning, once, if this kernel cannot have them."""
    reason = declare(host)
    with firewall_state.lock(host):
        known = firewall_state.load(host)
        firewall_state.store(host, known, known.chains, (*known.declared, firewall_state.HAIRPIN_RULES))
    if not reason:
        return ()
    return (f"bridge ports get their own broadcasts back, because of hairpinMode and because {reason}",)
