"""`cni-cnm network names`: the names that networks answer, as they are written for their servers."""

from __future__ import annotations

from typing import Any

from cni_cnm.cli.listing import ADDRESS, PART, Column, Listing
from cni_cnm.cnm.records import READY
from cni_cnm.docker_server.docker_api import DockerApi
from cni_cnm.find.endpoint_names import named
from cni_cnm.find.networks import find_network
from cni_cnm.frontend.stderr import say
from cni_cnm.names import hosts_files
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.objects.network import Network

NAMES = Listing(
    Column("Network"),
    Column("Name", match=PART),
    Column("Addresses", match=ADDRESS),
    Column("Container", short=12),
    Column("Pod"),
    Column("Endpoint", short=12, shown=False),
    quiet="Name",
)


def configure(verbs: Any) -> None:
    names = verbs.add_parser("names", help="list the names that networks answer, each as it is asked")
    names.add_argument("network", nargs="?", default="", help="name, id or the beginning of an id (default: all)")
    NAMES.add_options(names)
    names.set_defaults(verb=list_names)


def list_names(arguments: argparse.Namespace) -> None:
    from cni_cnm.cnm.network import name_service

    controller = open_controller()
    networks = [find_network(controller, arguments.network)] if arguments.network else list(controller.networks())
    chosen = [network for network in networks if network.record.names is not None]
    if arguments.network and not chosen:
        say(f"cni-cnm: the network {networks[0].name} answers no names: it has no dnsEnabled")
    for network in chosen:
        for sentence in name_service.obstacles(controller.host, network.record):
            say(f"cni-cnm: {sentence}")
        for sentence in _of_docker(controller.host, network):
            say(f"cni-cnm: {sentence}")
    NAMES.show(arguments, _rows(controller, [network.name for network in chosen]))


def _of_docker(host: Host, network: Network) -> Iterator[str]:
    """Why names of Docker's containers on the network are not answered."""
    unnamed = [one.record for one in network.endpoints() if one.record.docker_network and not one.record.names]
    joined = [record for record in unnamed if record.state == READY]
    if not joined:
        return
    api = DockerApi(host.settings, {record.docker_network for record in joined})
    if not api.asks:
        why = "the setting docker_api is off"
    elif api.networks() is None:
        why = "Docker does not answer"
    else:
        why = "the service has not asked Docker for them: `cni-cnm serve --docker` does"
    yield f"names of {len(joined)} containers of Docker on the network {network.name} are not answered: {why}"


def _rows(controller: Controller, networks: list[str]) -> Iterator[dict[str, Any]]:
    """One for each name and endpoint: of two containers with one name, both are answered."""
    records = {one.record.id: one.record for network in controller.networks() for one in network.endpoints()}
    shown = {one.record.id: one for one in named(controller.host, records.values())}
    for network in networks:
        written = hosts_files.read_all(hosts_files.folder_of(controller.host.settings.run_dir, network))
        for endpoint, content in sorted(written.items()):
            found: dict[str, list[str]] = {}
            for words in map(str.split, content.splitlines()):
                for name in words[1:]:
                    found.setdefault(name, []).append(words[0])
            holder = shown.get(endpoint)
            for name, addresses in found.items():
                yield {
                    "network": network,
                    "name": name,
                    "addresses": addresses,
                    "container": holder.container_id if holder else "",
                    "pod": holder.pod if holder else "",
                    "endpoint": endpoint,
                }
