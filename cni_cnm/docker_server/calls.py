"""One call of Docker: from its name and body to an answer. It never raises; an answer is always a JSON object.

An error has status 500 and both keys, because the key that Docker reads depends on status and driver (body.failure).
404 is only for calls that do not exist: Docker then does without some of them.
"""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cnm.docker import docker_networks, docker_pools
from cni_cnm.docker_protocol import ACTIVATE, IPAM_DRIVER, NETWORK_DRIVER
from cni_cnm.docker_protocol.body import failure
from cni_cnm.docker_protocol.join_messages import JOIN
from cni_cnm.docker_protocol.plugin_messages import ActivateResponse
from cni_cnm.docker_server import ipam_driver, network_driver
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend.reply import Subject, as_cnm_error
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.state.record_reader import take_notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Json

    Engine = Callable[[], AbstractContextManager[Controller]]

CALLS: Mapping[str, Callable[[Controller, Json], Any]] = {**network_driver.CALLS, **ipam_driver.CALLS}


_NO_SUBJECT = Subject()
_MESSAGE_MAX = 2000
"""Characters of an error message, which may quote the request."""


class Reply(NamedTuple):
    status: int
    body: bytes
    summary: str = ""
    """One line for the log: the call, the ids in it, the outcome."""
    subject: Subject = Subject()
    """For a log that is JSON, with the whole id of the endpoint."""
    error: int = 0
    """Code of the error; 0: the call was successful."""
    joined: str = ""
    """The id of the endpoint that has joined, by a call that was successful."""


def answer(engine: Engine, call: str, content: bytes) -> Reply:
    """Answer a call. `engine` opens a controller for this call only."""
    if call == ACTIVATE:
        return _reply(200, ActivateResponse((NETWORK_DRIVER, IPAM_DRIVER)).to_json(), "activated")
    function = CALLS.get(call)
    if function is None:
        return _failed(404, f"there is no call {call[:80]!r}", call)
    try:
        raw = json.loads(content) if content.strip() else {}
    except (ValueError, RecursionError) as error:
        return _failed(400, f"{call}: the request is not JSON: {error}", call)
    named, subject = _named(call, raw), Subject(call)
    try:
        with engine() as controller:
            if controller.host.settings.log_format == "json":
                subject = _subject(controller.host, call, raw)  # before a network is removed
            found = function(controller, raw)
            body = found.to_json() if found is not None else {}
            if not subject.network and controller.host.settings.log_format == "json":
                subject = _subject(controller.host, call, raw)  # after it was made
    except CnmError as error:
        shown = as_cnm_error(error)
        return _failed(500, str(shown), named, subject, shown.code)
    except RecursionError:
        return _failed(400, f"{call}: the request is nested too deeply", named, subject, InvalidConfig.code)
    except Exception as error:  # noqa: BLE001 - Docker waits for an answer without a limit, also in case of a defect
        shown = as_cnm_error(error)
        return _failed(500, f"{call}: {shown}", named, subject, shown.code)
    reply = _reply(200, body, f"{named} ok", subject)
    return reply._replace(joined=raw["EndpointID"]) if call == JOIN else reply


def _subject(host: Host, call: str, raw: Json) -> Subject:
    """The name of the network as it is on record, and Docker's id of the endpoint."""
    if not isinstance(raw, dict):
        return Subject(call)
    network, pool, endpoint = (_text(raw.get(key)) for key in ("NetworkID", "PoolID", "EndpointID"))
    try:
        if network:
            name = docker_networks.find_network(host, network).name
        else:
            name = docker_pools.find_pool(host, pool).network if pool else ""
    except CnmError:
        name = ""
    return Subject(call, name, endpoint=endpoint)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _named(call: str, raw: Json) -> str:
    if not isinstance(raw, dict):
        return call
    known = ((key, raw.get(key)) for key in ("NetworkID", "EndpointID", "PoolID", "Pool", "Address"))
    return " ".join([call, *(f"{key}={value[:40]}" for key, value in known if isinstance(value, str) and value)])


def _failed(
    status: int, message: str, named: str, subject: Subject = _NO_SUBJECT, code: int = InvalidConfig.code
) -> Reply:
    if len(message) > _MESSAGE_MAX:
        message = f"{message[:_MESSAGE_MAX]}..."
    return _reply(status, failure(message), f"{named} failed: {message}", subject, code)


def _reply(status: int, body: Json, summary: str, subject: Subject = _NO_SUBJECT, code: int = 0) -> Reply:
    """The log line also names the damaged records that the call has left out."""
    return Reply(status, json.dumps(body).encode(), "; ".join((summary, *take_notes())), subject, code)
