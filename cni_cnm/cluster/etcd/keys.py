"""Where etcd has what. All keys are below the prefix of the settings.

PREFIX/hosts/HOST                 {"instance", "addresses", "mac"}
PREFIX/alive/HOST                 empty, with a lease: etcd deletes it when the host has shown no life
PREFIX/networks/NETWORK           {"id", "subnets", "block_sizes", "vni", "port", "direct"}
PREFIX/topology                   empty, written with each new or deleted network: one writer at a time
PREFIX/names/HOST/NETWORK/ENDPOINT   the lines of its hosts file, of a network that answers names (names.py)
PREFIX/blocks/NETWORK/INDEX       {"host", "instance", "network": its id}
"""

from __future__ import annotations

import re

from cni_cnm.named_tuple import NamedTuple

_NAMES_PARTS = 3
_INDEX = re.compile("0|[1-9][0-9]{0,37}")


class Keys:
    """Names of keys below a prefix, such as `/cni-cnm`."""

    def __init__(self, prefix: str) -> None:
        self.all = f"{prefix}/"
        """What all keys begin with."""
        self.topology = f"{prefix}/topology"
        self.networks = f"{prefix}/networks/"

    def host(self, name: str) -> str:
        return f"{self.all}hosts/{name}"

    def alive(self, name: str) -> str:
        return f"{self.all}alive/{name}"

    def network(self, name: str) -> str:
        return f"{self.networks}{name}"

    def blocks(self, network: str = "") -> str:
        """What the keys of a network's blocks begin with; "": of all networks'."""
        return f"{self.all}blocks/{network}/" if network else f"{self.all}blocks/"

    def block(self, network: str, index: int) -> str:
        return f"{self.blocks(network)}{index}"

    def names(self, *place: str) -> str:
        """The key of host, network and endpoint; with less of them, what such keys begin with."""
        return f"{self.all}names/{'/'.join(place)}{'/' if 0 < len(place) < _NAMES_PARTS else ''}"

    def read(self, key: str) -> Key | None:
        """What a key names; None for a key that is none of these."""
        kind, _, name = key.removeprefix(self.all).partition("/")
        if kind in ("hosts", "alive", "networks") and name and "/" not in name:
            return Key(kind, name)
        if kind == "names" and name.count("/") == _NAMES_PARTS - 1 and all(name.split("/")):
            return Key(kind, name)
        network, _, index = name.partition("/")
        if kind == "blocks" and network and _INDEX.fullmatch(index):
            return Key(kind, network, int(index))
        return Key("topology", "") if key == self.topology else None


class Key(NamedTuple):
    """What a key names."""

    kind: str
    """`hosts`, `alive`, `networks`, `blocks`, `names` or `topology`."""
    name: str
    """Of the host, or of the network; of names host, network and endpoint with slashes between them."""
    number: int = 0
    """Of the block: its index."""


def end(prefix: str) -> str:
    """The end of the range of keys that begin with `prefix` (etcd's range_end), which ends in an ASCII character."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
