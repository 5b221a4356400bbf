"""The name that nerdctl has given a container. It tells CNI the container's id alone.

nerdctl records each name as a file with the id (pkg/namestore): DATA_ROOT/ADDRESS_HASH/names/NAMESPACE/NAME. It does so
before it calls CNI, and calls with NAMESPACE-ID for the container's id.
"""

from __future__ import annotations

import os

DATA_ROOT = "/var/lib/nerdctl"


def names(container_id: str, args: str, root: str = DATA_ROOT) -> list[str]:
    """Its name, none if nerdctl keeps its files elsewhere; and its host name, which CNI_ARGS has."""
    namespace, _, identity = container_id.rpartition("-")
    found = []
    for store in _entries(root):
        folder = f"{root}/{store}/names/{namespace}"
        for name in _entries(folder) if namespace else ():
            try:
                with open(f"{folder}/{name}", encoding="ascii", errors="replace") as file:
                    if file.read(len(identity) + 2).strip() == identity:
                        found.append(name)
            except OSError:
                pass  # of a container that was removed meanwhile
    pairs = dict(piece.partition("=")[::2] for piece in args.split(";"))
    hostname = pairs.get("NERDCTL_CNI_DHCP_HOSTNAME", "")
    return [*found, hostname] if hostname else found


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
