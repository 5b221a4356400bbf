"""`cni-cnm sandbox`: the network namespaces of containers, with the endpoints that have joined them."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli.docker_shapes import endpoint_settings, port_bindings
from cni_cnm.cli.listing import PREFIX, Column, Listing, container_column
from cni_cnm.cli.names import each
from cni_cnm.find.endpoints import FORMS
from cni_cnm.find.sandboxes import GONE, REPLACED, THERE, FoundSandbox, find_sandbox, sandboxes, state_of
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.host import Host

SANDBOXES = Listing(
    Column("ID", "SANDBOX ID", short=12, match=PREFIX, wide=True),
    container_column(),
    Column("Namespace", key="netns"),
    Column("Endpoints", text=lambda row: [_shown(one) for one in row["endpoints"]]),
    Column("Gateway", text=lambda row: list(dict.fromkeys(row["gateways"].values())), wide=True),
    Column("State", styles={THERE: "green", GONE: "red", REPLACED: "red"}),
    Column("ContainerID", key="container_id", match=PREFIX, shown=False),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("sandbox", help="list and show containers' network namespaces")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser(
        "ls",
        help="list sandboxes",
        description="List the network namespaces that endpoints have joined. STATE is 'ready', 'gone' (nothing is at "
        "the path), or 'replaced' (another namespace is at the path).",
    )
    SANDBOXES.add_options(ls)
    ls.set_defaults(verb=list_sandboxes)

    inspect = verbs.add_parser(
        "inspect",
        help="show sandboxes as JSON",
        description="Show sandboxes as JSON, with the keys of NetworkSettings in `docker inspect`.",
    )
    inspect.add_argument("sandbox", nargs="+", help=f"its id, or what an endpoint in it is found by: {FORMS}")
    inspect.set_defaults(verb=inspect_sandboxes)


def list_sandboxes(arguments: argparse.Namespace) -> None:
    host = open_controller().host
    SANDBOXES.show(arguments, (_row(host, sandbox) for sandbox in sandboxes(host)))


def inspect_sandboxes(arguments: argparse.Namespace) -> int:
    host = open_controller().host
    found: dict[str, dict[str, Any]] = {}

    def inspect(wanted: str) -> None:
        sandbox = find_sandbox(host, wanted)
        found[sandbox.id] = _inspected(host, sandbox)

    code = each(arguments.sandbox, inspect)
    if found:
        print(json.dumps(list(found.values()), indent=4))
    return code


def _row(host: Host, sandbox: FoundSandbox) -> dict[str, Any]:
    networks = {one.record.id: one.record.network for one in sandbox.endpoints}
    return {
        "id": sandbox.id,
        "container": sandbox.container,
        "container_id": sandbox.container_id,
        "netns": sandbox.netns,
        "endpoints": [
            {
                "id": one.record.id,
                "network": one.record.network,
                "ifname": one.record.ifname,
                "addresses": [str(address.interface) for address in one.record.addresses],
            }
            for one in sandbox.endpoints
        ],
        "gateways": {str(version): networks.get(one, "") for version, one in sandbox.gateways.items()},
        "state": state_of(host, sandbox),
    }


def _shown(endpoint: Any) -> str:
    return " ".join([f"{endpoint['network']}/{endpoint['ifname'] or '-'}", *endpoint["addresses"]])


def _inspected(host: Host, sandbox: FoundSandbox) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for one in sandbox.endpoints:
        name = one.record.network if one.record.network not in settings else f"{one.record.network}/{one.record.ifname}"
        settings[name] = endpoint_settings(one.record)
    return {
        "SandboxID": sandbox.id,
        "SandboxKey": sandbox.netns,
        "ContainerID": sandbox.container_id,
        "Name": sandbox.container,
        "State": state_of(host, sandbox),
        "Gateways": {str(version): endpoint for version, endpoint in sandbox.gateways.items()},
        "Ports": port_bindings(one.record for one in sandbox.endpoints),
        "Networks": settings,
    }
