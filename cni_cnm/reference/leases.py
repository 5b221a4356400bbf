"""host-local's store: whether a container's addresses are leased to it. The format: cni_cnm/ipam/leases.py.

Adoption changes nothing here: the same files are the leases of both.
"""

from __future__ import annotations

from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.model import EndpointKey, IPAddress
    from cni_cnm.reference.configuration import Bridge


def missing(key: EndpointKey, bridge: Bridge, addresses: Iterable[IPAddress]) -> list[str]:
    """A sentence for each address that the store does not lease to this interface."""
    if not bridge.ipam:
        return []
    owners = (f"{key.container_id}\r\n{key.ifname}", key.container_id)  # the second: host-local before 0.7
    wrong = []
    for address in addresses:
        place = f"{bridge.data_dir}/{key.network}/{address}"
        try:
            owner = small_files.read(place).decode(errors="replace").strip()
        except OSError as error:
            wrong.append(f"its lease {place} cannot be read: {error.strerror}")
            continue
        if owner not in owners:
            wrong.append(f"the lease {place} is of {' '.join(owner.split()) or 'no container'}")
    return wrong
