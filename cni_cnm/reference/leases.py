"""host-local's store: whether a container's addresses are leased to it. The format: cni_cnm/ipam/leases.py.

Adoption changes nothing here: the same files are the leases of both.
"""

from __future__ import annotations

import os

from cni_cnm.errors import IoFailed
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
    wrong = []
    for address in addresses:
        place = f"{bridge.data_dir}/{key.network}/{address}"
        try:
            owner = small_files.read(place).decode(errors="replace").strip()
        except OSError as error:
            wrong.append(f"its lease {place} cannot be read: {error.strerror}")
            continue
        if owner not in owners(key):
            wrong.append(f"the lease {place} is of {' '.join(owner.split()) or 'no container'}")
    return wrong


def owners(key: EndpointKey) -> tuple[str, str]:
    """What the file of a lease has. The second: as host-local before 0.7 wrote it."""
    return f"{key.container_id}\r\n{key.ifname}", key.container_id


def held(network: str, bridge: Bridge) -> dict[str, str]:
    """Owner by address, of all leases of a network. IoFailed if the store cannot be read."""
    folder = f"{bridge.data_dir}/{network}"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise IoFailed(f"the leases in {folder} cannot be read: {error.strerror}") from error
    found = {}
    for name in names:
        if name == "lock" or name.startswith("last_reserved_ip"):
            continue
        try:
            found[name] = small_files.read(f"{folder}/{name}").decode(errors="replace").strip()
        except FileNotFoundError:  # released meanwhile
            continue
        except OSError as error:
            raise IoFailed(f"the lease {folder}/{name} cannot be read: {error.strerror}") from error
    return found
