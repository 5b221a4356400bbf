"""`cni-cnm network connect` and `disconnect`: one more network for a container that runs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cni_cnm.cli import leftovers
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.errors import CnmError, Forbidden, InvalidConfig, NoSuchEndpoint, NoSuchSandbox
from cni_cnm.find.endpoints import FORMS, find_container
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.cnm.objects.sandbox import Sandbox
    from cni_cnm.find.endpoint_names import NamedEndpoint


def configure(verbs: Any) -> None:
    connect = verbs.add_parser(
        "connect",
        help="add a network to a container that runs",
        description="Add a network to a container that runs: one more interface, with an address. It is removed by "
        "`network disconnect`, or with the container's namespace.",
    )
    connect.add_argument("network", help="name, id or the beginning of an id")
    connect.add_argument("endpoint", metavar="CONTAINER", help=FORMS)
    add_endpoint_options(connect)
    connect.set_defaults(verb=connect_container)

    disconnect = verbs.add_parser(
        "disconnect",
        help="take a network away from a container",
        description="Take a network away from a container that runs: interface, addresses, published ports, record.",
    )
    disconnect.add_argument("network", help="name, id or the beginning of an id")
    disconnect.add_argument("endpoint", metavar="CONTAINER", help=FORMS)
    disconnect.add_argument("--force", action="store_true", help="also an interface that the container's runtime made")
    disconnect.set_defaults(verb=disconnect_container)


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ip", action="append", default=[], metavar="ADDRESS", help="an address, once for each family")
    parser.add_argument("--mac", default="", help="of the interface")
    parser.add_argument("--ifname", default="", help="the interface's name (default: the first free of eth0, eth1, …)")
    parser.add_argument(
        "-p", "--publish", action="append", default=[], metavar="PORTS", help="a published port, such as 8080:80/tcp"
    )


def create_endpoint(network: Network, name: str, arguments: argparse.Namespace) -> Endpoint:
    """An endpoint of this command line, with the options of `add_endpoint_options`."""
    return network.create_endpoint(
        name, owner=leftovers.OWNER, addresses=arguments.ip, mac=arguments.mac, ports=arguments.publish
    )


def connect_container(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    leftovers.remove(controller.host)
    network = controller.network(arguments.network)
    sandbox, members = _sandbox(controller, arguments.endpoint, network.name)
    for member in members:
        if member.record.network == network.name:
            raise Forbidden(f"the container is in the network {network.name} already: {member.shown}")
    with leftovers.at_work(controller.host, network.name, sandbox.container_id):
        endpoint = create_endpoint(network, sandbox.container_id, arguments)
        try:
            endpoint.join(sandbox, ifname=arguments.ifname)
        except BaseException:
            with suppress(CnmError):
                endpoint.delete(force=True)
            raise
    addresses = " ".join(str(address.interface) for address in endpoint.addresses)
    print(" ".join(filter(None, (endpoint.id[:12], endpoint.ifname, addresses))))


def disconnect_container(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    leftovers.remove(controller.host)
    network = controller.network(arguments.network)
    found = find_container(controller.host, arguments.endpoint)
    _refuse_docker(found, "disconnect", network.name)
    members = [one for one in found if one.record.network == network.name]
    if not members:
        raise NoSuchEndpoint(f"the container {found[0].container} is not in the network {network.name}")
    of_runtime = next((one for one in members if one.record.of_runtime), None)
    if of_runtime is not None and not arguments.force:
        runtime = of_runtime.record.owner.removeprefix("cni/")
        raise Forbidden(
            f"{of_runtime.shown} was made by {runtime}, which does not expect that it goes",
            hint="--force removes it all the same",
        )
    for one in members:
        for note in Endpoint(controller.host, one.record).delete(force=True):
            say(f"cni-cnm: {note}")
        print(one.shown)


def _sandbox(controller: Controller, wanted: str, network: str) -> tuple[Sandbox, Sequence[NamedEndpoint]]:
    """The container's sandbox and its endpoints. A sandbox without endpoints is found by its container's id."""
    try:
        members = find_container(controller.host, wanted)
    except NoSuchEndpoint as missing:
        try:
            return controller.sandbox(wanted), ()
        except NoSuchSandbox:
            raise missing from None
    _refuse_docker(members, "connect", network)
    if not members[0].record.container_id:
        raise InvalidConfig(
            f"{members[0].shown} has not joined a container", hint="`cni-cnm endpoint ls` shows the state"
        )
    return controller.sandbox(members[0].record.container_id), members


def _refuse_docker(members: Sequence[NamedEndpoint], verb: str, network: str) -> None:
    """Docker keeps its own list of a container's networks."""
    for member in members:
        if member.record.docker_network:
            container = member.docker.name or member.container_id[:12] or "CONTAINER"
            raise Forbidden(
                f"{member.shown} is Docker's, which has to know of its networks",
                hint=f"docker network {verb} {network} {container}",
            )
