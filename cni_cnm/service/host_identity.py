"""Who this host is in its cluster. The agent begins with it, and waits while it is not known."""

from __future__ import annotations

import os
import select

from cni_cnm.cluster import host_file, status_file
from cni_cnm.cluster.status_file import AgentStatus
from cni_cnm.errors import CnmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cluster.host_file import HostIdentity
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.cnm.host import Host

AGAIN_S = 10.0


def wait(host: Host, cluster: ClusterSettings, say_line: Callable[[str], None], stop: int) -> HostIdentity | None:
    """Who this host is. While it is not known, such as on a copied disk, STATUS has the reason. None at `stop`."""
    said = ""
    while True:
        try:
            name = host_file.node_name(cluster, os.environ)
            if cluster.store != "kubernetes":
                return host_file.load_or_create(host.settings.state_dir, name)
            found, before = host_file.load_or_renew(host.settings.state_dir, name)
            if before:
                say_line(f"this host is called {name} now, it was {before}: for the cluster it is another host")
            return found
        except CnmError as error:
            if str(error) != said:
                said = str(error)
                say_line(said)
                status_file.write(host.settings.run_dir, AgentStatus(os.getpid(), conflict=said))
        if select.select([stop], [], [], AGAIN_S)[0]:
            return None
