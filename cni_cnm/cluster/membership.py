"""This host as a member of its cluster: who it is there, and the way to what the hosts agree on.

`Membership` is the contract; `SettingsMembership` is what the settings' part `cluster` says. Nothing is opened or made
before it is asked for: a host whose pods use overlay networks asks only when it joins one, or needs a further block.
"""

from __future__ import annotations

import os
from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.directory import Directory
    from cni_cnm.cluster.values import ClusterHost
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.kernel import Stack

TIMEOUT_S = 5.0
"""How long a request of a pod or of an operator waits for the store."""


class Membership(Protocol):
    """What joining a network needs of this host's cluster."""

    def directory(self, timeout_s: float = TIMEOUT_S) -> Directory:
        """A way to the store of the caller's own, which closes it. InvalidConfig for wrong settings or files."""

    def host(self, stack: Stack | None = None) -> ClusterHost:
        """This host. With its kernel's `stack` it has its underlay addresses; NotReady if there are none."""


class SettingsMembership:
    """As the settings say. The host's identity is made if it has none yet."""

    def __init__(self, settings: ClusterSettings, state_dir: str) -> None:
        self._settings = settings
        self._state_dir = state_dir

    def directory(self, timeout_s: float = TIMEOUT_S) -> Directory:
        from cni_cnm.cluster.stores import open_directory

        return open_directory(self._settings, timeout_s)

    def host(self, stack: Stack | None = None) -> ClusterHost:
        from cni_cnm.cluster import host_file
        from cni_cnm.cluster.uplink import uplinks
        from cni_cnm.cluster.values import ClusterHost

        # The agent compares the name on the disk with that of its environment, which a runtime's call does not have.
        identity = None if self._settings.node else host_file.load(self._state_dir)
        if identity is None:
            name = host_file.node_name(self._settings, os.environ)
            identity = host_file.load_or_create(self._state_dir, name)
        found = uplinks(stack, self._settings.address) if stack is not None else ()
        return ClusterHost(identity.name, identity.instance, tuple(one.address for one in found), identity.mac)
