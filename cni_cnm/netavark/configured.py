"""The networks that podman has on file: `create` takes none of their subnets, although no container is on them yet."""

from __future__ import annotations

import os

from cni_cnm.errors import CnmError
from cni_cnm.fields import Fields
from cni_cnm.netavark.messages import decode
from cni_cnm.validate import network as parse_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPNetwork

FOLDER = "/etc/containers/networks"
"""podman's default `network_config_dir` for root (containers.conf(5))."""


def subnets(folder: str = FOLDER) -> Sequence[IPNetwork]:
    """The subnets in podman's files. What cannot be read is left out: podman alone checks its files."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        return ()
    return [subnet for name in names for subnet in _subnets(f"{folder}/{name}")]


def _subnets(path: str) -> Sequence[IPNetwork]:
    try:
        with open(path, "rb") as file:
            document = decode(file.read())
        found = [fields.parsed("subnet", parse_network) for fields in Fields(document).objects("subnets")]
    except (OSError, CnmError):
        return ()
    return [subnet for subnet in found if subnet is not None]
