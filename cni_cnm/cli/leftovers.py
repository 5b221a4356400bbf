"""Endpoints of this command line that a killed command left half made, or whose container has ended.

No runtime removes them. Each command that makes or removes such endpoints removes those first. The evidence is the
kernel's, because a pid says nothing in another PID namespace:

    half made     the command holds a lock while it makes an endpoint, and the kernel releases it with the process
    joined        the network namespace is gone (cnm/reconcile/gone_namespaces.py)
"""

from __future__ import annotations

from contextlib import ExitStack
from time import sleep

from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.cnm.records import READY, endpoint_records, load_endpoint, load_sandbox, sandbox_records
from cni_cnm.errors import CnmError, NoSuchEndpoint, TryAgain
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel.process import start_time
from cni_cnm.state.store import SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, SandboxRecord

OWNER = "cli"
"""Of endpoints that this command line makes."""
_RUN = "run"
_LOOKS, _PAUSE_S = 20, 0.025
"""The kernel removes the link of a killed command a moment after its process."""


def run_name(pid: int) -> str:
    """The container id of a command: it names the process, and tells it from a later one of its pid. Also its name,
    unless it was given another one.
    """
    return f"{_RUN}-{pid}-{start_time(pid)}"


def at_work(host: Host, network: str, name: str, timeout_s: float = 50.0) -> AbstractContextManager[None]:
    """Held by a command from before it makes the endpoint of this name until that is whole, and by `run` to its end.

    `network` "": of the sandbox of this name.
    """
    return host.store.lock(f"cli/{network}/{name}", timeout_s=timeout_s)


def remove(host: Host) -> None:
    """Remove those of this host. One that cannot be removed is said on stderr, and left for the next time."""
    for record in list(endpoint_records(host.store)):
        if record.owner == OWNER:
            try:
                with ExitStack() as held:
                    if _has_ended(host, record.network, record.name, held):
                        _remove_left(host, record)
            except NoSuchEndpoint:
                continue  # another command has removed it
            except CnmError as error:
                say(f"cni-cnm: {record.shown}, whose container is gone, cannot be removed: {error}")
    for sandbox in list(sandbox_records(host.store, host.epoch)):
        with ExitStack() as held:
            if _is_of_run(sandbox.container_id) and _has_ended(host, "", sandbox.container_id, held):
                _remove_empty(host, sandbox)


def _has_ended(host: Host, network: str, name: str, held: ExitStack) -> bool:
    """Whether no command is at work on what has this name. None begins while `held` is open."""
    try:
        held.enter_context(at_work(host, network, name, 0.0))
    except TryAgain:
        return False
    return True


def _remove_left(host: Host, record: EndpointRecord) -> None:
    current = load_endpoint(host.store, record.id)
    if current is None or current.owner != OWNER:
        return
    if current.state != READY:
        Endpoint(host, current).delete(force=True)
        return
    for _ in range(_LOOKS if _is_of_run(current.container_id) else 0):
        if host.stack.link(current.host_ifname) is None:
            break
        sleep(_PAUSE_S)
    gone_namespaces.take_down_if_gone(host, current.id)


def _remove_empty(host: Host, sandbox: SandboxRecord) -> None:
    current = load_sandbox(host.store, sandbox.id, host.epoch)
    if current is not None and not current.endpoints:
        host.store.delete(SANDBOXES, sandbox.id)


def _is_of_run(container_id: str) -> bool:
    kind, _, rest = container_id.partition("-")
    pid, _, started = rest.partition("-")
    return kind == _RUN and pid.isdigit() and started.isdigit()
