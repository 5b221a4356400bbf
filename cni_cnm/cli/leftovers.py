"""Endpoints of this command line whose container is gone: a command that was killed, or a container that ended.

No runtime removes them. Each command that makes such endpoints removes those first.
"""

from __future__ import annotations

from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.records import endpoint_records, sandbox_records
from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.errors import CnmError
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel.process import start_time
from cni_cnm.state.store import SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

OWNER = "cli"
"""Of endpoints that this command line makes."""
_RUN = "run"


def run_name(pid: int) -> str:
    """The container id of a command: it names the process, and tells it from a later one of its pid."""
    return f"{_RUN}-{pid}-{start_time(pid)}"


def remove(host: Host) -> None:
    """Remove those of this host. One that cannot be removed is said on stderr, and left for the next time."""
    for record in list(endpoint_records(host.store)):
        if record.owner == OWNER and _is_gone(host, record):
            try:
                Endpoint(host, record).delete(force=True)
            except CnmError as error:
                say(f"cni-cnm: {record.shown}, whose container is gone, cannot be removed: {error}")
    for sandbox in list(sandbox_records(host.store, host.epoch)):
        if not sandbox.endpoints and _has_ended(sandbox.container_id):
            host.store.delete(SANDBOXES, sandbox.id)


def _is_gone(host: Host, record: EndpointRecord) -> bool:
    if _has_ended(record.container_id or record.name):
        return True
    if not record.netns:
        return False
    stack = namespace_identity.open_joined(host, record)
    if stack is None:
        return True
    stack.close()
    return False


def _has_ended(container_id: str) -> bool:
    """Whether it is the id of a command whose process is gone."""
    kind, _, rest = container_id.partition("-")
    pid, _, started = rest.partition("-")
    if kind != _RUN or not (pid.isdigit() and started.isdigit()):
        return False
    return start_time(int(pid)) != int(started)
