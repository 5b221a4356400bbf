"""What would be taken over of a network, and what is left alone and why. Nothing is changed here."""

from __future__ import annotations

import os

from cni_cnm import ipam, text_file
from cni_cnm.adopt import adoption, fused, host_ports
from cni_cnm.adopt.look import LEFT, READY, TAKEN, Look, Pod
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.records import endpoint_records, load_endpoint, load_network
from cni_cnm.conflists import folder, new_conflist
from cni_cnm.conflists.check import BIN_FOLDERS
from cni_cnm.conflists.conflist import TYPE, parse
from cni_cnm.errors import Conflict, IoFailed, NotFound, UnsupportedField, file_hint
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.model import EndpointKey
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.conflists.conflist import Conflist


class Plan(NamedTuple):
    conflist: Conflist
    """The file as the plugins have it."""
    configured: ConfiguredNetwork
    """The network with this program's entry."""
    before: bytes
    after: bytes
    """What the file has, and what it is going to have."""
    look: Look
    pods: Sequence[Pod]

    @property
    def network(self) -> str:
        return self.configured.name


def networks(host: Host, conf_dir: str) -> list[str]:
    """The networks of the reference plugins that files of the folder configure, and those half taken over."""
    listed = [one.name for one in folder.with_nerdctl(conf_dir) if fused.is_reference(one) and one.name]
    unfinished = [one.network for one in adoption.adoptions(host.store) if not one.done]
    return list(dict.fromkeys([*listed, *unfinished]))


def make(host: Host, network: str, conf_dir: str, cache_dir: str, owner: Callable[[str], str]) -> Plan:
    """Look at a network that a file of `conf_dir` configures.

    Args:
        cache_dir: libcni's folder of results.
        owner: whose a container is, by its id.

    Raises:
        NotFound: no file configures it.
        Conflict: several do, the file was edited since the network was taken over, or this program is not installed
            where the runtime looks for plugins.
        UnsupportedField, InvalidConfig: the file has something that is not understood, so nothing can be taken over.
    """
    listed, before = _file(host, network, conf_dir)
    if not fused.is_reference(listed):
        raise UnsupportedField(f"{listed.path} begins with the plugin {listed.entries[0].type}, not with bridge")
    require_program()
    after = fused.text(listed, fused.entry(listed))
    written = parse(listed.path, after)
    configured = new_conflist.network_of(written, written.entries[0])
    described = network_description.describe(configured, dict(configured.addressing.ipam.config))
    record = load_network(host.store, network) or described._replace(published_only=True)
    look = Look(host, record, cache_dir, owner)
    return again(host, Plan(listed, configured, before, after, look, ()))


def again(host: Host, plan: Plan) -> Plan:
    """The plan with the attachments that there are now."""
    found = plan.look.all()
    not_taken = {pod.key.id for pod in found if pod.state != TAKEN}
    older = [one for one in endpoint_records(host.store) if one.epoch == host.epoch and one.id not in not_taken]
    pods = host_ports.of_one_each(found, older)
    known = {pod.key for pod in pods}
    uncached = {pod.key: pod for pod in _uncached(host, plan) if pod.key not in known}
    return plan._replace(pods=[*pods, *uncached.values()])


def require_program() -> None:
    """Conflict if no folder that has the plugin bridge has this program: the runtime would not find it."""
    folders = [*filter(None, os.environ.get("CNI_PATH", "").split(":")), *BIN_FOLDERS]
    having = [one for one in folders if os.path.exists(f"{one}/{fused.INTERFACE}")]
    if having and not any(os.path.exists(f"{one}/{TYPE}") for one in having):
        raise Conflict(
            f"the plugin {TYPE} is not beside {fused.INTERFACE} in {' or '.join(having)}, so no runtime finds it",
            hint="scripts/install puts it into /opt/cni/bin; a runtime that looks elsewhere needs a link there",
        )


def is_due(host: Host, plan: Plan) -> bool:
    """Whether anything would be changed."""
    state = adoption.load(host.store, plan.network)
    unfinished = state is not None and not state.done
    return unfinished or _content(plan.conflist.path) != plan.after or any(pod.state == READY for pod in plan.pods)


def changes(plan: Plan) -> Iterator[str]:
    """A sentence for each file and each table that is changed."""
    ready = sum(pod.state == READY for pod in plan.pods)
    kinds = ", ".join(entry.type for entry in plan.conflist.entries)
    if _content(plan.conflist.path) != plan.after:
        yield f"{plan.conflist.path}: one entry of cni-cnm in the place of {kinds}"
    if ready:
        yield f"{plan.look.folder}: this entry in the files of {_attachments(ready)}"
        yield f"packet filter: the rules of cni-cnm in the place of the plugins', for {_attachments(ready)}"
    if left := sum(pod.state == LEFT for pod in plan.pods):
        yield f"{_attachments(left)} left alone: the plugins' rules stay until its DEL removes them"


def _attachments(number: int) -> str:
    return "1 attachment" if number == 1 else f"{number} attachments"


def _file(host: Host, network: str, conf_dir: str) -> tuple[Conflist, bytes]:
    """The file that configures the network, as the plugins had it."""
    state = adoption.load(host.store, network)
    if state is not None:
        if _content(state.path) not in (state.before, state.after):
            raise Conflict(
                f"{state.path} was edited since the network {network} was taken over",
                hint=f"`cni-cnm release {network}` says what to do",
            )
        return parse(state.path, state.before), state.before
    found = [one for one in folder.with_nerdctl(conf_dir) if one.name == network]
    if not found:
        raise NotFound(
            f"no file of {conf_dir} configures a network {network}", hint="`cni-cnm adopt --all` shows those that are"
        )
    if len(found) > 1:
        raise Conflict(
            f"the network {network} is configured by {' and '.join(one.path for one in found)}",
            hint="remove all but one of them, or name the folder of one with --conf-dir",
        )
    before = _content(found[0].path)
    return parse(found[0].path, before), before


def _content(path: str) -> bytes:
    try:
        return text_file.read(path)
    except OSError as error:
        raise IoFailed(f"{path} cannot be read: {error.strerror}", hint=file_hint(error)) from error


def _uncached(host: Host, plan: Plan) -> Iterator[Pod]:
    """Leases of which libcni's cache says nothing."""
    configured = plan.configured
    pool = ipam.configure(configured.name, configured.spec.ipam, None, host)
    if not isinstance(pool, HostLocal) or not pool.leases.exists():
        return
    for name in sorted(os.listdir(pool.leases.folder)):
        container, _, ifname = pool.leases.owner(name).partition("\r\n")
        if name.startswith("last_reserved_ip") or name == "lock" or not container:
            continue
        key = EndpointKey(configured.name, container, ifname)
        if load_endpoint(host.store, key.id) is None:
            damaged = os.path.exists(cache.path(key, plan.look.folder))
            why = "libcni's file of it is damaged" if damaged else "libcni's cache does not know it"
            yield Pod(key, LEFT, f"it has the address {name}, and {why}")
