"""Which calls a service in a container leaves to the full program: those that need files of the node.

The container has the node's records, leases and settings at their places (conf/kubernetes/cni-cnm.yaml), and nothing
else of its files: no plugin's executable or socket, no other folder of leases, no list of allowed sysctls. The relay
executes the full program, which runs where the runtime does.
"""

from __future__ import annotations

import json
import os

from cni_cnm import settings
from cni_cnm.cni import names
from cni_cnm.drivers import BUILT_IN as DRIVERS
from cni_cnm.ipam import BUILT_IN as IPAMS
from cni_cnm.kernel import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_OF_IPAM = ("datadir", "resolvconf")
"""Keys that name files."""


def in_container(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a service in a container. Only there /proc/sys/net is at another place."""
    return bool(environ.get(sysctl.ENVIRONMENT))


def needed(environ: Mapping[str, str], stdin: bytes, program: str = "") -> str:
    """What of a call needs such files; "" if nothing does. Something that is no configuration needs none.

    A call by another plugin's name may run the executable of that name.
    """
    if names.of(program) not in ("", "loopback"):
        return names.of(program)
    if environ.get(settings.ENVIRONMENT):
        return settings.ENVIRONMENT
    try:
        config = _lower(json.loads(stdin or b"null"))
    except (ValueError, RecursionError):
        return ""
    ipam = _lower(config.get("ipam"))
    if str(ipam.get("type", "")) not in IPAMS:
        return "ipam.type"
    if str(config.get("driver", "bridge")) not in DRIVERS:
        return "driver"
    named = next((key for key in _OF_IPAM if ipam.get(key)), "")
    return f"ipam.{named}" if named else "sysctl" if config.get("sysctl") else ""


def _lower(value: object) -> dict[str, Any]:
    """An object with its keys in lower case, as the configuration is read; empty for another value."""
    return {key.lower(): inner for key, inner in value.items()} if isinstance(value, dict) else {}
