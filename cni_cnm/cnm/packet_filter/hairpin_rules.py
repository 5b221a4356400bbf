"""The rules of bridge ports with hairpin (firewall/reflection.py): they have no elements, and are declared once.

They are not compared at every ADD, as other chains are: without them broadcasts are reflected, and nothing else. An ADD
writes them again with all tables. If they alone were removed, the service or `cni-cnm repair` does.
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
    mark = firewall_state.NO_HAIRPIN_RULES if reason else firewall_state.HAIRPIN_RULES
    with firewall_state.lock(host):
        known = firewall_state.load(host)
        firewall_state.store(host, known, known.chains, (*known.declared, mark))
    if not reason:
        return ()
    return (f"bridge ports get their own broadcasts back, because of hairpinMode and because {reason}",)
