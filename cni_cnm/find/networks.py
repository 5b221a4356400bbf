"""Networks by the names that an operator knows: this program's, and Docker's for a network that Docker uses."""

from __future__ import annotations

from cni_cnm.docker_server.docker_api import DockerApi
from cni_cnm.errors import NoSuchNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.objects.network import Network


def find_network(controller: Controller, wanted: str) -> Network:
    """By its name, its id or the beginning of the id, as `Controller.network`; else by those that Docker has.

    Docker is asked for names only if nothing else is found.

    Raises:
        NoSuchNetwork: none is meant, or several are.
    """
    try:
        return controller.network(wanted)
    except NoSuchNetwork:
        networks = list(controller.networks()) if wanted else []
        names = docker_names(controller.host, networks)
        found = [
            network
            for network in networks
            if any(one.startswith(wanted) or names.get(one) == wanted for one in network.record.docker_networks)
        ]
        if len(found) != 1:
            raise
        return found[0]


def docker_names(host: Host, networks: Iterable[Network]) -> Mapping[str, str]:
    """The names that Docker has for its networks that use these, by Docker's ids. None if it does not answer."""
    ids = {one for network in networks for one in network.record.docker_networks}
    return (DockerApi(host.settings, ids).network_names() or {}) if ids else {}
