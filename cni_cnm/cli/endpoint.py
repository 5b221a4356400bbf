"""`cni-cnm endpoint`: what is attached on this host, and to whom it belongs."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli import leftovers
from cni_cnm.cli.docker_shapes import endpoint_settings
from cni_cnm.cli.listing import ADDRESS, ID_SHORT, PART, PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import CnmError
from cni_cnm.find.endpoint_names import named
from cni_cnm.find.endpoints import FORMS, find_endpoints, find_of_one_container
from cni_cnm.find.networks import find_network
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.find.endpoint_names import NamedEndpoint


def _container(row: Any) -> str:
    """The pod, or Docker's name of the container, or its id; of a command of `cni-cnm run` its name."""
    if row["owner"] == leftovers.OWNER:
        return str(row["name"])
    return str(row["pod"] or row["docker"] or row["container"] or row["name"])


ENDPOINTS = Listing(
    Column("ID", "ENDPOINT ID", short=ID_SHORT, match=PREFIX, wide=True),
    Column("Network"),
    Column(
        "Container",
        match=PART,
        text=_container,
        short=lambda row: ID_SHORT if _container(row) == row["container"] else 0,
    ),
    Column("IfName", wide=True),
    Column("Addresses", filter="address", match=ADDRESS),
    Column("Published", filter="port"),
    Column("Owner", wide=True),
    Column("State", styles={"ready": "green", "": "yellow"}),
    Column("Pod", shown=False, match=PART),
    Column("Name", shown=False, match=PART),
    Column("MAC", shown=False),
    Column("Link", shown=False),
    Column("Namespace", key="netns", shown=False),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("endpoint", help="list, show and remove endpoints")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list endpoints")
    ls.add_argument("--network", help="of this network only")
    ENDPOINTS.add_options(ls)
    ls.set_defaults(verb=list_endpoints)

    inspect = verbs.add_parser("inspect", help="show endpoints' records as JSON")
    inspect.add_argument("endpoint", nargs="+", help=FORMS)
    inspect.set_defaults(verb=inspect_endpoints)

    rm = verbs.add_parser("rm", help="remove an endpoint whose runtime will not: its interface, addresses and record")
    rm.add_argument("endpoint", nargs="+", help=FORMS)
    rm.add_argument("--force", action="store_true", help="also if a plugin that has a part in it does not answer")
    rm.set_defaults(verb=remove_endpoints)


def list_endpoints(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    known = list(endpoint_records(controller.host.store))
    records = [record for record in known if arguments.network in (None, record.network)]
    if arguments.network is not None and not records:  # it has none, or is named by its id or Docker's name
        network = find_network(controller, arguments.network)
        records = [record for record in known if record.network_id == network.id]
    rows = map(_row, named(controller.host, records))
    ENDPOINTS.show(arguments, sorted(rows, key=lambda row: (row["network"], _container(row), row["ifname"])))


def inspect_endpoints(arguments: argparse.Namespace) -> int:
    controller = open_controller()
    found: dict[str, dict[str, Any]] = {}

    def inspect(wanted: str) -> None:
        for one in find_endpoints(controller.host, wanted):
            found[one.record.id] = _shown(Endpoint(controller.host, one.record), one)

    code = each(arguments.endpoint, inspect)
    if found:
        print(json.dumps(list(found.values()), indent=4))
    return code


def remove_endpoints(arguments: argparse.Namespace) -> int:
    controller = open_controller()

    def remove(wanted: str) -> None:
        for one in find_of_one_container(controller.host, wanted):
            for note in Endpoint(controller.host, one.record).delete(force=True, unanswered=arguments.force):
                say(f"cni-cnm: {note}")
            print(one_line(one.shown))

    return each(arguments.endpoint, remove)


def _row(endpoint: NamedEndpoint) -> dict[str, Any]:
    record = endpoint.record
    return {
        "id": record.id,
        "network": record.network,
        "container": endpoint.container_id,
        "pod": endpoint.pod,
        "docker": endpoint.docker.name,
        "name": record.name,
        "ifname": record.ifname,
        "addresses": [str(address.interface) for address in record.addresses],
        "published": [port.published() for port in record.ports],
        "owner": record.owner,
        "state": record.state,
        "mac": endpoint.mac,
        "link": record.host_ifname,
        "netns": record.netns,
    }


def _shown(endpoint: Endpoint, names: NamedEndpoint) -> dict[str, Any]:
    """The record, with Docker's keys and name of the container, and what a plugin says beside it."""
    shown: dict[str, Any] = {**endpoint_settings(endpoint.record), **endpoint.record.to_json()}
    if names.docker.name:
        shown["docker"] = {"container": names.docker.id, "name": names.docker.name}
    try:
        info = endpoint.info()
    except CnmError as error:
        say(f"cni-cnm: {error}")
        return shown
    return {**shown, "info": dict(info)} if info else shown
