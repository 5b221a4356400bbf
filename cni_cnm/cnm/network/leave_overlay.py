"""Leaving an overlay network: this host's blocks are free again for all hosts."""

from __future__ import annotations

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import join_overlay
from cni_cnm.errors import CnmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


def leave(host: Host, record: NetworkRecord) -> str:
    """Release the blocks of a removed network. Returns a sentence if that is not possible now, else "".

    Nothing is lost then: the blocks stay this host's in the directory, and are used when it joins the network again.
    The agent releases what it finds there and no network of this host has.
    """
    mine = overlay_record.blocks(record)
    try:
        cluster = join_overlay.membership(host)
        me = cluster.host()
        join_overlay.release(cluster, overlay_record.directory_blocks(record, me.name, me.instance))
    except CnmError as error:
        shown = ", ".join(str(subnet) for block in mine for subnet in block)
        return f"the blocks {shown} of the network {record.name} stay this host's in the directory: {error}"
    return ""
