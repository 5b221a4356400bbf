"""`cni-cnm network create`: a network at once, not by its first container."""

from __future__ import annotations

from typing import Any

from cni_cnm import validate
from cni_cnm.conflists import folder, new_conflist
from cni_cnm.conflists.folder import FOLDER
from cni_cnm.drivers import DEFAULT
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend.stderr import say
from cni_cnm.ipam import BUILT_IN
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(verbs: Any) -> None:
    create = verbs.add_parser("create", help="create a network")
    create.add_argument("name")
    create.add_argument(
        "--driver", default=DEFAULT, help=f"network driver, or a Docker plugin's name (default: {DEFAULT})"
    )
    create.add_argument("--ipam", metavar="TYPE", help="where addresses come from (default: host-local)")
    create.add_argument(
        "--ipam-opt", action="append", default=[], metavar="KEY=VALUE", help="option for an IPAM plugin"
    )
    create.add_argument(
        "--subnet", action="append", default=[], help="CIDR, once for each IP family (default: from the pools)"
    )
    create.add_argument(
        "--gateway", action="append", default=[], help="gateway address of the subnet at the same position"
    )
    create.add_argument("--ipv6", action="store_true", help="choose an IPv6 subnet too, where no --subnet is given")
    create.add_argument("--internal", action="store_true", help="no default route, no masquerade")
    create.add_argument("--dns", action="store_true", help="answer the names of its containers at the gateway")
    create.add_argument(
        "--dns-server",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="with --dns: where other questions go (default: the host's resolv.conf)",
    )
    create.add_argument(
        "--allow-overlap", action="store_true", help="allow a subnet that overlaps with another network or the host"
    )
    create.add_argument(
        "-o",
        "--opt",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="driver option, such as parent=eth0 or block=24",
    )
    create.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="metadata")
    create.add_argument(
        "--masquerade-except",
        action="append",
        default=[],
        metavar="CIDR",
        help="a destination to which containers keep their address",
    )
    add_conflist_options(create, "also write a file that configures it for CNI runtimes")
    create.add_argument("--default", action="store_true", help="it may be the first: runtimes use it for all pods")
    create.set_defaults(verb=create_network)


def add_conflist_options(parser: argparse.ArgumentParser, effect: str) -> None:
    parser.add_argument("--conflist", action="store_true", help=effect)
    parser.add_argument("--conf-dir", metavar="PATH", default=FOLDER, help=f"the runtime's folder (default: {FOLDER})")


def create_network(arguments: argparse.Namespace) -> None:
    sets = ranges(arguments.subnet, arguments.gateway)
    from_plugin = arguments.ipam not in (None, *BUILT_IN)
    if arguments.ipv6 and sets and not from_plugin and not any(":" in subnet for subnet in arguments.subnet):
        raise InvalidConfig(
            "--ipv6 chooses an IPv6 subnet where none is given, and --subnet is given",
            hint="give an IPv6 --subnet, too",
        )
    if arguments.ipam_opt and not from_plugin:
        raise InvalidConfig("--ipam-opt is for an IPAM plugin", hint="name it with --ipam")
    config: dict[str, Any] = {"ranges": sets} if sets else {}
    if arguments.ipam_opt:
        config["options"] = pairs(arguments.ipam_opt, "--ipam-opt")
    options: dict[str, Any] = {"profile": "cnm", "labels": pairs(arguments.opt, "--opt")}
    if arguments.ipv6:
        options["enableipv6"] = True
    if arguments.masquerade_except:
        options["masqueradeExcept"] = arguments.masquerade_except
    if arguments.default and not arguments.conflist:
        raise InvalidConfig("--default is about the file that --conflist writes", hint="give --conflist, too")
    path = ""
    if arguments.conflist:
        new_conflist.refuse(arguments.driver)
        if arguments.ipam is not None:
            config["type"] = arguments.ipam  # as the file has it
        name = validate.require(validate.network_name, arguments.name, "a network's name")
        path = folder.new_path(arguments.conf_dir, name, first=arguments.default)
    try:
        network = open_controller().new_network(
            arguments.name,
            driver=arguments.driver,
            ipam_type=arguments.ipam,
            options=options,
            ipam_config=config,
            internal=arguments.internal,
            labels=pairs(arguments.label, "--label"),
            allow_overlap=arguments.allow_overlap,
            dns=arguments.dns,
            dns_servers=arguments.dns_server,
        )
    except CnmError as error:
        error.msg, error.hint = (_as_typed(text, arguments) for text in (error.msg, error.hint))
        raise
    if path:
        try:
            new_conflist.write(path, network.record, allow_overlap=arguments.allow_overlap)
        except CnmError:
            network.delete()
            raise
        say(f"cni-cnm: {path} configures the network for CNI runtimes")
    print(network.id)


def ranges(subnets: list[str], gateways: list[str]) -> list[list[dict[str, str]]]:
    """A range set for each subnet; the gateway at the same position, if there is one, is in it."""
    if len(gateways) > len(subnets):
        raise InvalidConfig(f"--gateway {gateways[len(subnets)]} needs the --subnet it is in")
    found = []
    for position, text in enumerate(subnets):
        subnet = validate.require(validate.network, text, "--subnet")
        found.append([{"subnet": text}])
        if position < len(gateways):
            gateway = validate.require(validate.address, gateways[position], "--gateway")
            if gateway not in subnet:
                raise InvalidConfig(f"--gateway {gateway} is not in --subnet {subnet}")
            found[-1][0]["gateway"] = str(gateway)
    return found


def _as_typed(text: str, arguments: argparse.Namespace) -> str:
    """A sentence with the words of the command line in place of those of a configuration."""
    import re

    given = " and ".join(flag for flag in ("--subnet", "--gateway", "--ipam") if getattr(arguments, flag[2:]))
    text = re.sub(r"ipam\.ranges\[\d+\]\[0\]\.(gateway|subnet)", r"--\1", text)
    return text.replace("leave out ipam", f"leave out {given}") if given else text


def pairs(texts: list[str], flag: str) -> dict[str, str]:
    """Arguments KEY=VALUE of one option."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidConfig(f"{flag} {text!r} is not KEY=VALUE")
        found[key] = value
    return found
