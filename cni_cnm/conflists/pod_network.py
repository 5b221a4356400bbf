"""The file of the network that all pods of a Kubernetes cluster are on. The agent writes it when the data path stands.

A runtime that finds it starts pods, so it is not written before. It is the agent's: what it has there is replaced.
"""

from __future__ import annotations

from cni_cnm import text_file
from cni_cnm.cni import environ, request
from cni_cnm.conflists import folder
from cni_cnm.conflists.changes import text_of
from cni_cnm.conflists.conflist import TYPE, parse
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import Conflict
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import NetworkSpec

VERSION = "1.0.0"
"""The newest that containerd 1.6 and 1.7 read."""
VERSIONS = ("1.0.0", "1.1.0")
"""A runtime that knows the key takes the newest one that it knows. Those of 1.1.0 ask STATUS and request GC."""
_CAPABILITIES = ("portMappings", "bandwidth", "ips", "mac")


def content(network: str) -> bytes:
    """The file's text, for a network of this name."""
    entry = {"type": TYPE, "driver": OVERLAY, "capabilities": dict.fromkeys(_CAPABILITIES, True)}
    return text_of({"cniVersion": VERSION, "cniVersions": list(VERSIONS), "name": network, "plugins": [entry]})


def spec(network: str) -> NetworkSpec:
    """The network, as an ADD by the file reads it."""
    written = parse("", content(network))
    document = written.given_to(written.entries[0])
    call = environ.Call("ADD", "", "", "", "", "", False, {})
    return request.network_of(document, Fields(document), call)


def write(path: str, network: str) -> bool:
    """Put the file there, complete at once. False if it is there as it is to be. IoFailed if it cannot be written."""
    data = content(network)
    try:
        if text_file.read(path) == data:
            return False
        folder.replace(path, data)
    except OSError:  # there is none
        try:
            folder.create(path, data)
        except Conflict:  # another program has made one meanwhile
            folder.replace(path, data)
    return True
