"""The name that nerdctl has given a container. It tells CNI the container's id alone.

nerdctl records each name as a file with the id (pkg/namestore): DATA_ROOT/ADDRESS_HASH/names/NAMESPACE/NAME. It does so
before it calls CNI, and calls with NAMESPACE-ID for the container's id. DATA_ROOT is a key of its settings; where the
option --data-root names it, no plugin is told.
"""

from __future__ import annotations

import os

DATA_ROOT = "/var/lib/nerdctl"
SETTINGS = "/etc/nerdctl/nerdctl.toml"
_QUOTES = "\"'"


def names(container_id: str, root: str) -> list[str]:
    """The container's name; none if nerdctl keeps its files elsewhere."""
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
    return found


def host_name(args: str) -> str:
    """The container's host name, from CNI_ARGS; "" without one."""
    pairs = dict(piece.partition("=")[::2] for piece in args.split(";"))
    return pairs.get("NERDCTL_CNI_DHCP_HOSTNAME", "")


def data_root(settings: str = SETTINGS) -> str:
    """The folder of nerdctl's files: `data_root` of its settings, as long as that is a plain string, or the default.

    A module for TOML would cost each such ADD more than the rest of it.
    """
    try:
        with open(settings, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return DATA_ROOT
    for line in lines:
        key, _, value = (part.strip() for part in line.partition("="))
        quote = value[:1]
        if key.strip(_QUOTES) == "data_root" and quote and quote in _QUOTES:
            return value[1:].partition(quote)[0].rstrip("/") or DATA_ROOT
    return DATA_ROOT


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
