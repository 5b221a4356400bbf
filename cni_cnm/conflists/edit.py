"""Editing a network, alone or together with the file that configures it: both are changed, or neither."""

from __future__ import annotations

from cni_cnm.cni import environ, request
from cni_cnm.cnm.network import requested_edit
from cni_cnm.conflists import effective, folder
from cni_cnm.conflists.changes import applied, rewritten
from cni_cnm.errors import CnmError, Forbidden, NotFound
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.conflists.changes import Changes
    from cni_cnm.conflists.conflist import Conflist
    from cni_cnm.model import Json, NetworkSpec


def edit(network: Network, changes: Changes, conf_dir: str, *, with_file: bool) -> Sequence[str]:
    """Change a network, and with `with_file` the file of the folder that configures it.

    Returns what overlaps the new subnets although it is allowed, and what was written, a sentence each.

    Raises:
        Forbidden: a file configures the network and `with_file` is not given, or several do.
        NotFound: no file does, and `with_file` is given.
        InvalidConfig: a change is wrong, or endpoints do not allow it.
        IoFailed: the file cannot be written. The network is as before.
    """
    requested_edit.refuse(network.record)
    conflist = _file_of(network.name, conf_dir, with_file=with_file)
    if conflist is None or conflist.ours is None:
        given = applied(changes, effective.shortest(network.record))
        return network.edit(_spec(network.name, given))
    given = applied(changes, conflist.ours.given)
    data = rewritten(conflist, conflist.ours, given)
    before = network.record
    warnings = network.edit(_spec(network.name, given))
    try:
        folder.replace(conflist.path, data)
    except CnmError:
        _back(network, before)
        raise
    return [*warnings, f"{conflist.path} is changed, too"]


def _file_of(network: str, conf_dir: str, *, with_file: bool) -> Conflist | None:
    found = folder.of_network(conf_dir, network)
    paths = " and ".join(one.path for one in found)
    if len(found) > 1:
        raise Forbidden(f"the network {network} is configured by {paths}", hint="remove all but one of them")
    if found and not with_file:
        raise Forbidden(
            f"the network {network} is configured by {paths}, and its next container would change it back",
            hint="--conflist changes the file, too",
        )
    if with_file and not found:
        raise NotFound(f"no file of {conf_dir} configures the network {network}", hint="leave out --conflist")
    return found[0] if found else None


def _spec(network: str, given: Mapping[str, Json]) -> NetworkSpec:
    document = {**given, "name": network}
    call = environ.Call("ADD", "", "", "", "", "", False, {})
    return request.network_of(document, Fields(document), call)


def _back(network: Network, before: NetworkRecord) -> None:
    """As it was. Another program may have taken the old subnets meanwhile: they are this network's all the same."""
    spec = _spec(network.name, effective.shortest(before))
    network.edit(spec._replace(allow_overlap=True))
