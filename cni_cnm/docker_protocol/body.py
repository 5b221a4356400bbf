"""The JSON body of a call: reading a request's and a response's fields, and the error that a body can carry."""

from __future__ import annotations

from cni_cnm.errors import DriverFailed, InvalidConfig, shown
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.errors import CnmError
    from cni_cnm.model import Json


def request(call: str, raw: Json) -> Fields:
    """The fields of a request. What is wrong in it is InvalidConfig: the caller is at fault."""
    return _fields(call, raw, "request", InvalidConfig)


def response(call: str, raw: Json) -> Fields:
    """The fields of a response. What is wrong in it is DriverFailed: the plugin is at fault."""
    return _fields(call, raw, "response", DriverFailed)


def failure(message: str) -> Json:
    """The body of a call that failed.

    With status 200 Docker reads `Error` of an IPAM plugin and `Err` of a network plugin, with any other status `Err`
    of both: so both keys are written.
    """
    return {"Err": message, "Error": message}


def failure_of(body: Json) -> str:
    """The error that a decoded body carries under either key, "" if none."""
    if not isinstance(body, dict):
        return ""
    return next((text for key in ("Err", "Error") if isinstance(text := body.get(key), str) and text), "")


def _fields(call: str, raw: Json, what: str, error: type[CnmError]) -> Fields:
    if raw is not None and not isinstance(raw, dict):
        raise error(f"{call}: the {what} is {shown(raw)}, it must be an object")
    return Fields(raw, f"{call} {what}: ", error=error)
