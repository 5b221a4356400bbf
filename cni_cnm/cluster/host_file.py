"""Who this host is in its cluster: STATE_DIR/cluster/host.json, made once and kept over reboots.

{"instance": "…32 hex digits…", "name": "node1"}

Any process of the host makes it: the agent, or the first ADD on an overlay network. A directory shows by the instance
that a host of the same name is another one. The MAC of the host's VXLAN devices follows from it.
"""

from __future__ import annotations

import json
import os

from cni_cnm import validate
from cni_cnm.cluster import rules
from cni_cnm.errors import DamagedRecord, InvalidConfig, IoFailed, file_hint
from cni_cnm.model import stable_mac
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state import small_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cluster_settings import ClusterSettings

NODE_NAME = "NODE_NAME"
"""The variable that names the node in a Kubernetes pod (downward API)."""


class HostIdentity(NamedTuple):
    """This host in its cluster."""

    name: str
    instance: str
    """32 hex digits, chosen at random once."""

    @property
    def mac(self) -> str:
        """Of its VXLAN devices."""
        return stable_mac("vtep", self.instance)


def path(state_dir: str) -> str:
    return f"{state_dir}/cluster/host.json"


def node_name(settings: ClusterSettings, environ: Mapping[str, str]) -> str:
    """The settings' `node`, else the variable NODE_NAME, else the host's name. InvalidConfig if it is no name."""
    if settings.node:
        return settings.node
    if named := environ.get(NODE_NAME, ""):
        return validate.require(validate.network_name, named, f"the variable {NODE_NAME}")
    return validate.require(validate.network_name, os.uname().nodename, "the host's name")


def load(state_dir: str) -> HostIdentity | None:
    """None if the host has no identity yet. DamagedRecord names the file."""
    place = path(state_dir)
    try:
        content = small_files.read(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IoFailed(f"{place} cannot be read: {error.strerror}", hint=file_hint(error)) from error
    try:
        raw = json.loads(content)
        found = HostIdentity(validate.network_name(raw["name"]), rules.hex_id(raw["instance"]))
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedRecord(
            f"{place} is not as cni-cnm writes it: {type(error).__name__}: {error}",
            hint="put it back from a backup; without it this host is a new one: "
            "remove the host's record from another host by `cni-cnm node rm NAME`, and then this file",
        ) from error
    return found


def load_or_create(state_dir: str, name: str) -> HostIdentity:
    """The host's identity, made if there is none.

    InvalidConfig if the file has another name: the host was renamed, or its disk was copied from another host.
    """
    found = load(state_dir) or _create(state_dir, name)
    if found.name != name:
        raise InvalidConfig(
            f"this host is called {name}, and {path(state_dir)} is of the host {found.name}",
            hint=f'set node = "{found.name}" in the settings; if this disk is a copy of that host\'s, remove '
            f"{os.path.dirname(path(state_dir))} and the overlay networks' records first",
        )
    return found


def load_or_renew(state_dir: str, name: str) -> tuple[HostIdentity, str]:
    """The host's identity under this name, and the name that the file had, if that was another one.

    A renamed host gets a new identity, and so does one whose disk is a copy. Right where the store itself knows which
    hosts there are (Kubernetes' Nodes): there the other name is another host's.
    """
    found = load(state_dir)
    if found is None or found.name == name:
        return load_or_create(state_dir, name), ""
    try:
        os.unlink(path(state_dir))
    except OSError as error:
        raise IoFailed(f"{path(state_dir)} cannot be removed: {error.strerror}", hint=file_hint(error)) from error
    return load_or_create(state_dir, name), found.name


def _create(state_dir: str, name: str) -> HostIdentity:
    place = path(state_dir)
    made = HostIdentity(name, os.urandom(rules.ID_DIGITS // 2).hex())
    data = json.dumps({"instance": made.instance, "name": made.name}).encode()
    try:
        small_files.make_folder(os.path.dirname(place), 0o700)
        small_files.create(place, data, durable=True)
    except FileExistsError:  # by another process, meanwhile
        return load(state_dir) or made
    except OSError as error:
        raise IoFailed(f"{place} cannot be written: {error.strerror}", hint=file_hint(error)) from error
    return made
