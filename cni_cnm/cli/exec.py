"""`cni-cnm exec`: a command in the network namespace of a container."""

from __future__ import annotations

import os
from typing import Any

from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.errors import NamespaceGone
from cni_cnm.find.endpoints import FORMS, find_container
from cni_cnm.kernel import commands
from cni_cnm.kernel.netns import open_namespace
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "exec",
        usage="%(prog)s [options] container -- COMMAND [ARGUMENT ...]",
        help="run a command in the network namespace of a container",
        description="Run a command of the host in the network namespace of a container, with the rights of the caller, "
        "which must be root. Only the network is the container's: files, processes and users are the host's. "
        "Exit code: the command's, 126 if it cannot be executed, 127 if there is none.",
    )
    parser.add_argument("endpoint", metavar="CONTAINER", help=FORMS)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --, with its arguments")
    parser.set_defaults(verb=execute)


def execute(arguments: argparse.Namespace) -> int:
    with open_controller() as controller:
        found = find_container(controller.host, arguments.endpoint)
        record = next((one.record for one in found if one.record.netns), None)
        if record is None:
            raise NamespaceGone(
                f"{found[0].shown} has not joined a namespace", hint="`cni-cnm endpoint ls` shows the state"
            )
        namespace = _open(controller.host, record)
    return commands.execute(namespace, arguments.command)


def _open(host: Host, record: EndpointRecord) -> int:
    """A descriptor of the namespace that the endpoint joined. NamespaceGone if its path leads elsewhere by now."""
    descriptor = open_namespace(record.netns)
    stack = namespace_identity.open_joined(host, record)
    same = stack is not None and stack.inode() == os.fstat(descriptor).st_ino
    if stack is not None:
        stack.close()
    if not same:
        os.close(descriptor)
        raise NamespaceGone(
            f"the network namespace of {record.shown} is gone: {record.netns} is another one",
            hint=f"`cni-cnm endpoint rm {record.id[:12]}` removes what is left of it",
        )
    return descriptor
