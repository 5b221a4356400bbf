"""The plugins that this program stands in for: which one it is, says the name that it is called by.

    NAME.py               `VERBS` of the plugin NAME, which are called as those of cni/verbs.py
    interface_plugin.py   plugins that make an interface (bridge, ptp, …): a driver of ours, in the profile `reference`
    chained_plugin.py     plugins behind them (portmap, tuning, sbr, …): each adds its part to the endpoint
    ipam_plugin.py        plugins that only lease addresses (host-local, static), for other interface plugins
    original.py           the reference executable of the same name, which takes down what it has made

Any other name is `cni-cnm` itself. Configuration keys, defaults, effects and results are the reference plugins'.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cni.invocation import Verb
    from cni_cnm.errors import CnmError

MODULES: Mapping[str, str] = {
    "bandwidth": "bandwidth",
    "bridge": "bridge",
    "firewall": "firewall",
    "host-device": "host_device",
    "host-local": "host_local",
    "ipvlan": "ipvlan",
    "loopback": "loopback",
    "macvlan": "macvlan",
    "portmap": "portmap",
    "ptp": "ptp",
    "sbr": "sbr",
    "static": "static",
    "tuning": "tuning",
}
"""By name: the module in this folder."""
REFERENCE_VERSION = "v1.9.1"
"""The release of the reference plugins whose behaviour the names have. nerdctl asks `firewall` for it."""
_INTERNAL = 999
_KEPT = frozenset((1, 4, 5, 6, 8, 11, 50, 51))
"""Codes that the specification gives a meaning which a runtime can act on. The others are 999 with the reference."""


def of(program: str) -> str:
    """The plugin that a program of this path is called as; "" for `cni-cnm` itself."""
    name = program.rpartition("/")[2]
    return name if name in MODULES else ""


def verbs(name: str) -> Mapping[str, Verb]:
    """The verbs of a plugin; "": those of `cni-cnm`."""
    if not name:
        from cni_cnm.cni.verbs import VERBS

        return VERBS
    from importlib import import_module

    named: Mapping[str, Verb] = import_module(f"cni_cnm.cni.names.{MODULES[name]}").VERBS
    return named


def error_code(error: CnmError) -> int:
    """The code of an error as the reference plugins give it."""
    return error.code if error.code in _KEPT else _INTERNAL
