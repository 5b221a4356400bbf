"""What fails the next attach on this host, whatever the network is, and what of a network is half done."""

from __future__ import annotations

import os

from cni_cnm.errors import CnmError, DamagedRecord, NotReady
from cni_cnm.state.store import ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.cnm.host import Host
    from cni_cnm.firewall import Policy

BYTES_MIN, FILES_MIN = 32 * 1024, 8
"""An attach writes leases, and the records of endpoint, sandbox and network, each as a file beside the old one."""
_HINT = "`df` and `df -i` show what is full, `findmnt` what is mounted there"


def require_room(folders: Iterable[str]) -> None:
    """NotReady if nothing can be written in one of the folders, or in the parent that it would be made in."""
    for folder in folders:
        found = os.statvfs(_existing(folder))
        if found.f_flag & os.ST_RDONLY:
            raise NotReady(f"{folder} is on a file system that is read-only, so no record can be written", hint=_HINT)
        full = found.f_bavail * found.f_frsize < BYTES_MIN or (found.f_files and found.f_favail < FILES_MIN)
        if full:
            raise NotReady(f"{folder} is on a file system that is full, so no record can be written", hint=_HINT)


def require_nftables(host: Host, policy: Policy) -> None:
    """NotReady if the network needs rules, and none can be made."""
    if not (policy.masquerade or policy.guard_mac or policy.isolates):
        return
    try:
        host.nft.require()
    except CnmError as error:
        raise NotReady(error.msg, hint=error.hint) from error


def unfinished_adoption(host: Host, network: str) -> list[str]:
    """A sentence if `cni-cnm adopt` or `release` of the network has not ended: it goes on, or was killed."""
    try:
        state = host.store.get(ADOPT, network)
    except DamagedRecord as error:
        return [error.msg]
    if not isinstance(state, dict) or state.get("done"):
        return []
    way = state.get("way")
    return [f"`cni-cnm {way}` of the network {network} has not ended; `cni-cnm {way} {network} --yes` goes on"]


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
