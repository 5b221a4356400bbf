"""The file of a network that exists: it makes the same network, so the first pod changes nothing."""

from __future__ import annotations

import json

from cni_cnm.cni import environ, request
from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.conflists import effective, folder
from cni_cnm.conflists.changes import text_of
from cni_cnm.conflists.conflist import parse
from cni_cnm.drivers import drivers
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.conflists.conflist import Conflist, Entry

VERSION = "1.0.0"
"""Known by containerd from 1.6 on, by podman and nerdctl."""


def refuse(driver: str) -> None:
    """InvalidConfig for a driver that no CNI configuration can name."""
    declared = drivers.get(driver).configuration
    if declared.refused:
        raise InvalidConfig(
            f"--conflist: the driver is {driver!r}, which {declared.refused}", hint="leave out --conflist"
        )


def write(path: str, record: NetworkRecord, *, allow_overlap: bool) -> None:
    """Make the file of a network that is on record.

    Raises:
        Conflict: there is a file of that name.
        IoFailed: it cannot be written.
        InvalidConfig: no configuration makes this network.
    """
    entry = effective.entry(record)
    if allow_overlap:
        entry["allowOverlap"] = True
    data = text_of({"cniVersion": VERSION, "name": record.name, "plugins": [entry]})
    written = parse(path, data)
    if written.ours is None or not network_description.is_current(record, network_of(written, written.ours)):
        raise InvalidConfig(
            f"no file makes the network {record.name} as it is: {json.dumps(entry)}", hint="leave out --conflist"
        )
    folder.create(path, data)


def network_of(conflist: Conflist, entry: Entry) -> ConfiguredNetwork:
    """The network that an entry of a file configures, as an ADD reads it. InvalidConfig if it is wrong."""
    document = conflist.given_to(entry)
    call = environ.Call("ADD", "", "", "", "", "", False, {})
    return configured_network.read(request.network_of(document, Fields(document), call))
