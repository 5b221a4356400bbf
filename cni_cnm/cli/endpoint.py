"""`cni-cnm endpoint`: what is attached on this host, and to whom it belongs."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli.table import table
from cni_cnm.cnm.network import endpoint_records
from cni_cnm.errors import NoSuchEndpoint
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("endpoint", help="list and show endpoints")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list endpoints")
    ls.add_argument("--network", default="", help="of this network only")
    ls.set_defaults(verb=list_endpoints)

    inspect = verbs.add_parser("inspect", help="show an endpoint's record as JSON")
    inspect.add_argument("endpoint", help="id, the beginning of an id, or a container id")
    inspect.set_defaults(verb=inspect_endpoint)


def list_endpoints(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    rows = [
        (
            record.id[:12],
            record.network,
            record.container_id[:12] or record.name,
            record.ifname or "-",
            ", ".join(str(address.interface) for address in record.addresses) or "-",
            record.owner,
            record.state,
        )
        for record in endpoint_records(controller)
        if arguments.network in ("", record.network)
    ]
    if arguments.network and not rows:
        controller.network(arguments.network)  # there is none, or it has none
    print(table(("ENDPOINT ID", "NETWORK", "CONTAINER", "IFNAME", "ADDRESSES", "OWNER", "STATE"), rows))


def inspect_endpoint(arguments: argparse.Namespace) -> None:
    wanted = arguments.endpoint
    found = endpoint_records(open_controller()) if wanted else ()
    records = [record for record in found if record.id.startswith(wanted) or record.container_id == wanted]
    if not records:
        raise NoSuchEndpoint(f"there is no endpoint {wanted!r}", hint="`cni-cnm endpoint ls` lists them")
    print(json.dumps([record.to_json() for record in records], indent=4))
