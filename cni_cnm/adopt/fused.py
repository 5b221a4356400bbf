"""A list of reference plugins as the one entry of this program that does the same.

    bridge, portmap, firewall, bandwidth, tuning  ──►  cni-cnm with the bridge's keys and a block for each of the others

One entry and not the plugins' own names: an endpoint is then one record and one transaction of the packet filter. The
program need not be installed under these names.
"""

from __future__ import annotations

from cni_cnm.cni import request
from cni_cnm.conflists.changes import text_of
from cni_cnm.conflists.conflist import TYPE, Entry, parse
from cni_cnm.drivers.bridge_options import KEYS, REFERENCE_KEYS
from cni_cnm.errors import CnmError, UnsupportedField
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.conflists.conflist import Conflist
    from cni_cnm.model import Json

INTERFACE = "bridge"
"""The plugin that a list must begin with."""
_CHAINED = ("portmap", "firewall", "bandwidth", "tuning")
"""Plugins that may follow it, each once."""
_IPAMS = ("", "host-local")
_OF_LIST = ("type", "capabilities", "name", "cniversion")
"""Keys of an entry that are not of its plugin."""
_OWN_MEANING = (request.OWN_KEYS - {"ipam", "dns", "args"}) | {*request.BLOCKS} | (KEYS - REFERENCE_KEYS - {"mtu"})
"""Keys that the plugin bridge ignores, and that this program would not."""
_WITHOUT_EFFECT = {
    INTERFACE: ("ipmasqbackend", *_OWN_MEANING),
    "portmap": ("backend", "markmasqbit"),
    "firewall": ("backend",),
    "tuning": ("datadir",),
}
"""Keys that say how the reference does it, and change nothing of what is done."""
_REFUSED = {
    INTERFACE: {
        "vlan": "VLANs of bridges are not taken over",
        "vlantrunk": "VLANs of bridges are not taken over",
    },
    "bandwidth": {
        "shapedsubnets": "a limit here is for everything that an interface sends and receives",
        "unshapedsubnets": "a limit here is for everything that an interface sends and receives",
    },
}


def is_reference(conflist: Conflist) -> bool:
    """Whether the list begins with a reference plugin that can be taken over."""
    return conflist.entries[0].type == INTERFACE


def is_ours(config: bytes) -> bool:
    """Whether a list, as a runtime has cached it, has this program's entry. Runtimes may write it in their own way."""
    try:
        return parse("the configuration that it was made with", config).ours is not None
    except CnmError:
        return False


def entry(conflist: Conflist) -> dict[str, Json]:
    """The entry of this program. UnsupportedField if a plugin of the list, or a key, is not understood."""
    first, *others = conflist.entries
    found = {"type": TYPE, "profile": request.REFERENCE, **_keys(first)}
    ipam = Fields(first.given).object("ipam").text("type")
    if ipam not in _IPAMS:
        raise UnsupportedField(f"{_at(first)} has the ipam {ipam}, and only host-local is understood")
    for one in others:
        if one.type not in _CHAINED or one.type in found:
            why = "twice in the list" if one.type in found else "not understood"
            raise UnsupportedField(f"{_at(one)}, the plugin {one.type}, is {why}")
        found[one.type] = _keys(one)
    found = {key: value for key, value in found.items() if not (key in _CHAINED and value == {})}
    declared = {
        name: True
        for one in conflist.entries
        for name, value in Fields(one.given).mapping("capabilities").items()
        if value is True
    }
    kind = found.pop("type")
    return {"type": kind, **({"capabilities": declared} if declared else {}), **found}


def text(conflist: Conflist, ours: Mapping[str, Json]) -> bytes:
    """The text of the file, with `ours` in the place of all its plugins."""
    document: dict[str, Json] = {}
    if conflist.is_list:
        for key, value in conflist.document.items():
            document[key] = [dict(ours)] if key.lower() == "plugins" else value
    else:
        document = {key: value for key, value in conflist.document.items() if key.lower() in ("name", "cniversion")}
        document.update(ours)
    return text_of(document, conflist.indent)


def _keys(one: Entry) -> dict[str, Json]:
    """The plugin's own keys. UnsupportedField for one that cannot be taken over."""
    given = {key: value for key, value in one.given.items() if key.lower() not in _OF_LIST and value is not None}
    for key, why in _REFUSED.get(one.type, {}).items():
        if Fields(given).raw(key):
            raise UnsupportedField(f"{_at(one)} has {key}: {why}")
    if one.type == "firewall" and Fields(given).text("backend") == "firewalld":
        raise UnsupportedField(f"{_at(one)} has the backend firewalld, whose rules are not taken over")
    without = _WITHOUT_EFFECT.get(one.type, ())
    return {key: value for key, value in given.items() if key.lower() not in without}


def _at(one: Entry) -> str:
    return one.path or "the file"
