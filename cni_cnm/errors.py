"""The error tree: every failure that a caller can see is one of these classes.

    CnmError                          110  internal, unless a subclass says otherwise
    ├── IncompatibleVersion             1  (CNI: incompatible CNI version)
    ├── UnsupportedField                2
    ├── UnknownContainer                3
    ├── InvalidEnvironment              4
    ├── IoFailed                        5
    │   └── DamagedRecord                  a record is not as this program writes it
    ├── DecodeFailed                    6
    ├── InvalidConfig                   7  CNM: InvalidParameter
    ├── InvalidNamespace                8
    ├── TryAgain                       11  CNM: Unavailable
    │   ├── Unfinished                     a step failed and cannot be undone now: the record stays for a later DEL
    │   ├── PluginUnreachable              a plugin does not answer
    │   └── DirectoryUnreachable           etcd or the Kubernetes API does not answer
    ├── NotReady                       50  STATUS: cannot serve ADD
    ├── Conflict                      104  CNM: Conflict (NetworkNameError)
    ├── Forbidden                     104  CNM: Forbidden (lifecycle rule)
    │   ├── ActiveEndpoints                a network with endpoints is not deleted
    │   └── ActiveContainer                an endpoint joined to a sandbox is not deleted
    ├── NotFound                      110  CNM: NotFound
    │   ├── NoSuchNetwork / NoSuchEndpoint / NoSuchSandbox / NoSuchDriver
    │   └── NamespaceGone                  the network namespace does not exist (any more)
    ├── PortTaken                     100
    ├── AddressesExhausted            101
    ├── KernelFeatureMissing          102
    ├── DriverFailed                  103  a driver, executable or plugin failed; has the executable's own code if any
    │   ├── PluginFailed                   a plugin answered with an error
    │   ├── PluginAnswerLost               a plugin closed the connection within its answer
    │   └── PluginRefused                  a plugin answered a removal with an error: logged, the removal goes on
    ├── KernelError                   110  a kernel call failed; carries errno
    ├── CheckFailed                   110  CHECK found a difference
    └── Several                            more than one step of a removal failed; the code is the first one's

A message is one sentence that names the object and the cause, `hint` says what to do next, `details` may be long.
Codes 1 to 99 are the CNI specification's (SPEC "Error"), 100 to 110 this plugin's. 0 and 999 are not used: they have no
meaning.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


_SHOWN = 80


def shown(value: object) -> str:
    """A wrong value for a message: as JSON has it, on one line, cut at 80 characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    import json

    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def file_hint(error: OSError) -> str:
    """What to do about a file that cannot be read or written; "" if there is no general answer."""
    if isinstance(error, PermissionError):
        return "run it as root"
    if error.errno == errno.EROFS:
        return "its file system is mounted read-only: see with findmnt, and in dmesg why"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "see with df and df -i what is full"
    return ""


class CnmError(Exception):
    """Base of the tree: `msg` is one sentence, `hint` the next step, `details` free text, `code` the CNI code."""

    code = 110
    http_status = 500

    def __init__(self, msg: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(msg)
        self.msg = msg
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.msg} ({self.hint})" if self.hint else self.msg


class IncompatibleVersion(CnmError):
    """The CNI version of a configuration is not served, or its result cannot be said in it."""

    code = 1
    http_status = 400


class UnsupportedField(CnmError):
    """A configuration has a field that is understood and not served."""

    code = 2
    http_status = 400


class UnknownContainer(CnmError):
    """The container is not known."""

    code = 3
    http_status = 404


class InvalidEnvironment(CnmError):
    """A variable of CNI's environment is missing or wrong."""

    code = 4
    http_status = 400


class IoFailed(CnmError):
    """A file cannot be read or written."""

    code = 5


class DamagedRecord(IoFailed):
    """A record is not as this program writes it; the message names the file."""


class DecodeFailed(CnmError):
    """A configuration or an answer is no valid JSON."""

    code = 6
    http_status = 400


class InvalidConfig(CnmError):
    """A configuration value is wrong (CNM: InvalidParameter)."""

    code = 7
    http_status = 400


class InvalidNamespace(CnmError):
    """The namespace exists and cannot be used, for example because it is the plugin's own."""

    code = 8
    http_status = 400


class TryAgain(CnmError):
    """The request may succeed later, as it is."""

    code = 11
    http_status = 503


class Unfinished(TryAgain):
    """A step failed, and what it may have done could not be undone. The record stays, so that DEL can undo it."""


class PluginUnreachable(TryAgain):
    """A plugin does not answer. `sent`: the call was sent, so what the plugin did is not known."""

    def __init__(self, msg: str, *, sent: bool, hint: str = "") -> None:
        super().__init__(msg, hint=hint)
        self.sent = sent


class DirectoryUnreachable(TryAgain):
    """What the hosts of a cluster agree on cannot be read or written now: the store does not answer, or refuses."""


class NotReady(CnmError):
    """STATUS: no ADD can be served now."""

    code = 50
    http_status = 503


class Conflict(CnmError):
    """Something else has the name, the address or the interface."""

    code = 104
    http_status = 409


class Forbidden(CnmError):
    """The state of the object does not allow the call."""

    code = 104
    http_status = 403


class ActiveEndpoints(Forbidden):
    """A network with endpoints is not deleted."""


class ActiveContainer(Forbidden):
    """A joined endpoint is not deleted, nor a sandbox with endpoints."""


class NotFound(CnmError):
    """What is named does not exist."""

    http_status = 404


class NoSuchNetwork(NotFound):
    """There is no such network, or more than one that is meant."""


class NoSuchEndpoint(NotFound):
    """There is no such endpoint, or more than one that is meant."""


class NoSuchSandbox(NotFound):
    """The container has no sandbox."""


class NoSuchDriver(NotFound):
    """No driver or IPAM of that name is built in, executable or a Docker plugin."""

    code = 7


class NamespaceGone(NotFound):
    """No network namespace at the path: missing, a plain file left by a reboot, or an empty path."""

    code = 3


class PortTaken(CnmError):
    """A port of the host is published already, or a program holds it.

    `holder`: the first 12 digits of the id of the endpoint that publishes it, "" for a program.
    """

    code = 100
    http_status = 409

    def __init__(self, msg: str, *, hint: str = "", details: str = "", holder: str = "") -> None:
        super().__init__(msg, hint=hint, details=details)
        self.holder = holder


class AddressesExhausted(CnmError):
    """No address or no subnet is free."""

    code = 101
    http_status = 409


class KernelFeatureMissing(CnmError):
    """This kernel does not have what is needed; the message names the module."""

    code = 102
    http_status = 501


class DriverFailed(CnmError):
    """A driver, executable or plugin failed. `code` is the executable's own CNI code if it has one."""

    code = 103

    def __init__(self, msg: str, *, code: int = 0, hint: str = "", details: str = "") -> None:
        super().__init__(msg, hint=hint, details=details)
        if code not in (0, 999):
            self.code = code


class PluginFailed(DriverFailed):
    """A plugin answered a call with an error. `status` is the HTTP status."""

    def __init__(self, msg: str, status: int, *, hint: str = "") -> None:
        super().__init__(msg, hint=hint)
        self.status = status

    @property
    def unsupported(self) -> bool:
        """The plugin does not have the call: it answers 404."""
        return self.status == 404


class PluginAnswerLost(DriverFailed):
    """A plugin closed the connection within its answer, so what it did is not known."""


class PluginRefused(DriverFailed):
    """A plugin answered a Leave, Delete or Release with an error. It is logged and the removal goes on (libnetwork)."""


class KernelError(CnmError):
    """A kernel call failed. `errno` is the kernel's; the message says what was tried on which object."""

    def __init__(self, msg: str, errno: int, *, hint: str = "") -> None:
        super().__init__(msg, hint=hint)
        self.errno = errno


class CheckFailed(CnmError):
    """CHECK found a difference; the message names the first one."""


class Several(CnmError):
    """The failures of one removal, in which every step was tried."""

    def __init__(self, errors: Sequence[CnmError]) -> None:
        super().__init__("; ".join(error.msg for error in errors), hint=next((e.hint for e in errors if e.hint), ""))
        self.errors = tuple(errors)
        self.code = errors[0].code


def raise_gathered(errors: Sequence[CnmError]) -> None:
    """Raise the errors of a removal: nothing if there are none, the error itself if there is one, else `Several`."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several(errors)
