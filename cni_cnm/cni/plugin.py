"""The CNI frontend: one call in, one reply out, by the verbs of the plugin that the program is called as.

VERSION answers without reading stdin.
"""

from __future__ import annotations

import sys

from cni_cnm.cni import environ as environment
from cni_cnm.cni import names, request, versions
from cni_cnm.cni.document import decode
from cni_cnm.cni.invocation import Invocation, stated_by, summary
from cni_cnm.errors import CnmError, IoFailed
from cni_cnm.fields import Fields
from cni_cnm.frontend.reply import Reply, Subject, as_cnm_error, warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.frontend.engine import Engine
    from cni_cnm.model import Json


def handle(
    environ: Mapping[str, str],
    read_stdin: Callable[[], bytes],
    controller: Callable[[], Engine],
    program: str = "cni-cnm",
    owner: Callable[[], str] = lambda: "unknown",
) -> Reply:
    """Answer one call. Never raises.

    `controller` opens the engine, after everything was validated. `owner` gives the runtime's name, if neither
    configuration nor environment has one. `program` is the path that the program was called by, whose name says which
    plugin it is (cni/names/).
    """
    invocation: Invocation | None = None
    version, name, acts = "", names.of(program), False
    try:
        verb = environment.verb(environ)
        if verb == "VERSION":
            return Reply(0, versions.answer(name).encode(), summary=verb, subject=Subject(verb))
        raw = _stdin(read_stdin)
        document = decode(raw)
        version = _claimed(document)
        invocation = Invocation(environment.read(environ), document, controller, owner, program if name else "")
        request.name_of(invocation.config)
        versions.require(verb, invocation.version, name)
        if verb in ("ADD", "CHECK"):
            request.refuse_repeated(raw)
        run = names.verbs(name)[verb]
        acts = True
        out = run(invocation)
    except CnmError as error:
        return _failed(as_cnm_error(error), version, invocation, environ, by_name=acts and bool(name))
    except Exception as error:  # noqa: BLE001 - for any defect the runtime gets one error object
        trace = _trace(environ)
        return _failed(as_cnm_error(error), version, invocation, environ, trace=trace, by_name=acts and bool(name))
    invocation.warn(_left_out())
    subject = invocation.subject
    line = " ".join(part for part in (summary(subject), invocation.plugin, invocation.outcome) if part)
    return Reply(0, out, warnings(invocation.warnings), "; ".join((f"{line} ok", *invocation.logged)), subject)


def _failed(
    error: CnmError,
    version: str,
    invocation: Invocation | None,
    environ: Mapping[str, str],
    *,
    trace: str = "",
    by_name: bool = False,
) -> Reply:
    """`by_name`: a verb of another plugin has failed, whose errors have the reference's codes."""
    from cni_cnm.cni.error_object import failure

    said = warnings([*invocation.warnings, *_left_out()]) if invocation else ""
    subject = invocation.subject if invocation else stated_by(environ)
    code = names.error_code(error) if by_name else 0
    line = f"{summary(subject)} {invocation.plugin if invocation else ''}".rstrip()
    return failure(error, version, err=said + trace, summary=line, subject=subject, code=code)


def _left_out() -> list[str]:
    """Damaged records that did not stop this call. A call that has read no record has not loaded their reader."""
    reader = sys.modules.get("cni_cnm.state.record_reader")
    return [*reader.take_notes()] if reader is not None else []


def _trace(environ: Mapping[str, str]) -> str:
    if not environ.get("CNI_CNM_DEBUG"):
        return ""
    from traceback import format_exc

    return format_exc().encode(errors="backslashreplace").decode()


def _stdin(read_stdin: Callable[[], bytes]) -> bytes:
    try:
        return read_stdin()
    except OSError as error:
        raise IoFailed(f"the network configuration cannot be read from stdin: {error.strerror or error}") from error


def _claimed(document: Mapping[str, Json]) -> str:
    """The version of an error object: the configuration's, if it is supported."""
    stated = Fields(document).raw("cniVersion")
    return stated if isinstance(stated, str) and stated in versions.SUPPORTED else ""
