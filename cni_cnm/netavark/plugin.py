"""The netavark frontend: one call in, one reply out. Everything is checked before anything is changed."""

from __future__ import annotations

import sys

from cni_cnm import __version__
from cni_cnm.errors import InvalidEnvironment, IoFailed
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.reply import Reply, Subject, as_cnm_error, warnings
from cni_cnm.netavark import API_VERSION, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.model import Json


class _Call:
    """The call, and what is said of it in the log and on stderr."""

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        read_stdin: Callable[[], bytes],
        controller: Callable[[], Controller],
    ) -> None:
        self.arguments = arguments
        self.controller = controller
        self.request_id = environ.get("CNI_CNM_REQUEST", "")
        self.warnings: list[str] = []
        self.subject = Subject(self.verb)
        self._read_stdin = read_stdin

    @property
    def verb(self) -> str:
        return self.arguments[0] if self.arguments else "info"

    @property
    def netns(self) -> str:
        if len(self.arguments) < 2 or not self.arguments[1]:
            raise InvalidEnvironment("the path of the network namespace is missing", hint=f"call {self.verb} NETNS")
        return self.arguments[1]

    def message(self) -> Mapping[str, Json]:
        try:
            raw = self._read_stdin()
        except OSError as error:
            raise IoFailed(f"the message cannot be read from stdin: {error.strerror or error}") from error
        return messages.decode(raw)


def handle(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    read_stdin: Callable[[], bytes],
    controller: Callable[[], Controller],
) -> Reply:
    """Answer one call. Never raises. `arguments` are the verb and what follows it."""
    call = _Call(arguments, environ, read_stdin, controller)
    try:
        answer = VERBS[call.verb](call)
    except Exception as error:  # noqa: BLE001 - for any defect podman shows one sentence
        return _failed(call, error)
    reader = sys.modules.get("cni_cnm.state.record_reader")
    call.warnings += reader.take_notes() if reader is not None else []
    line = "; ".join((f"{_shown(call)} ok", *call.warnings))
    return Reply(0, _dump(answer), warnings(call.warnings), line, call.subject)


def _failed(call: _Call, error: Exception) -> Reply:
    """`{"error": …}`: podman shows nothing else, so it has the hint, too."""
    found = as_cnm_error(error)
    said = "; ".join((str(found), *getattr(found, "__notes__", ())))
    line = f"{_shown(call)} failed, code {found.code}: {one_line(found.msg)}"
    return Reply(1, _dump({"error": one_line(said)}), warnings(call.warnings), line, call.subject, found.code)


def _shown(call: _Call) -> str:
    subject = call.subject
    container = f"{subject.container}/{subject.ifname}" if subject.container else ""
    return " ".join(filter(None, ("netavark", call.verb, subject.network, container)))


def _info(call: _Call) -> Json:  # noqa: ARG001
    return {"version": __version__, "api_version": API_VERSION}


def _create(call: _Call) -> Json:
    from cni_cnm.netavark import complete

    given = call.message()
    network = messages.network(given)
    call.subject = Subject(call.verb, network.name)
    completed, found = complete.complete(call.controller(), network)
    call.warnings += found
    return complete.document(given, completed)


def _setup(call: _Call) -> Json:
    from cni_cnm.netavark import attach, endpoint_spec, status_block

    netns = call.netns
    container = messages.container(call.message())
    call.subject = Subject(call.verb, container.network.name, container.container_id, container.ifname)
    call.warnings += endpoint_spec.unpublished(container)
    attachment = attach.setup(call.controller(), container, netns, call.request_id)
    call.warnings += attachment.warnings
    return status_block.status_block(attachment)


def _teardown(call: _Call) -> Json:
    from cni_cnm.netavark import attach

    netns = call.netns
    leaving = messages.leaving(call.message())
    call.subject = Subject(call.verb, leaving.network, leaving.container_id, leaving.ifname)
    call.warnings += attach.teardown(call.controller(), leaving, netns)
    return None


VERBS: Mapping[str, Callable[[_Call], Json]] = {
    "info": _info,
    "create": _create,
    "setup": _setup,
    "teardown": _teardown,
}


def _dump(answer: Json) -> bytes:
    if answer is None:
        return b""
    import json

    return json.dumps(answer).encode() + b"\n"
