"""The reference executable of the name that this program was called by: it takes down and checks what it has made.

A container that the reference plugins attached before this program took their names has no record here. Its executable
is in a later folder of CNI_PATH, or beside this one as NAME.distrib, where it was diverted. ADD never runs it.
"""

from __future__ import annotations

import json
import os
import stat

from cni_cnm.errors import CnmError, DriverFailed, NamespaceGone
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation

GUARD = "CNI_CNM_ORIGINAL"
"""In the environment of an executable that was run here: if it is this program all the same, it runs no other one."""
DIVERTED = ".distrib"
"""Of a file that dpkg-divert has put aside."""
_RELAY_MAX = 256 << 10
_RELAY_MARK = b"CNICNM1"
"""The relay's protocol (build/relay.c): a copy of the relay has another inode, and is this program."""
_TIMEOUT_S = 55.0
_REFUSED = (1, 2, 4, 6, 7)
"""Codes of a call that is refused as such: nothing was ever made with it."""


def run(invocation: Invocation) -> bool:
    """Answer a DEL or CHECK by the executable. False if there is none.

    Raises DriverFailed with the error that it answers. That of a DEL is a warning, unless a part of this container is
    found that it has left: the call can be the second one for this container, and then no retry would help.
    """
    path = find(invocation)
    if not path:
        return False
    from cni_cnm.ipam.delegated import SEARCH_PATH, execute

    call = invocation.call
    environ = {**call.environ, "CNI_NETNS": _namespace(invocation), "PATH": SEARCH_PATH, GUARD: "1"}
    stdin = json.dumps(invocation.given).encode()
    code, output = execute(path, environ, stdin, _TIMEOUT_S, "the plugin")
    if code == 0:
        return True
    error = _error(path, call.verb, code, output)
    if call.verb == "DEL" and (error.code in _REFUSED or not _left(invocation, environ["CNI_NETNS"], error)):
        invocation.warn([error.msg])
        return True
    raise error


def may_have_made(invocation: Invocation) -> bool:
    """Whether there is an executable, and its DEL may find something of this container. It takes 15 to 150 ms."""
    if not find(invocation):
        return False
    from cni_cnm.reference import untouched

    config, namespaces = Fields(invocation.given), invocation.controller().namespaces
    try:
        netns = _namespace(invocation)
        return not untouched.is_untouched(invocation.plugin, invocation.key(), netns, config, namespaces)
    except CnmError:
        return True


def _left(invocation: Invocation, netns: str, error: DriverFailed) -> bool:
    """Whether the plugin has left a part of this container. The error then says which."""
    from cni_cnm.reference import leftover

    config, namespaces = Fields(invocation.given), invocation.controller().namespaces
    try:
        found = leftover.find(invocation.plugin, invocation.key(), netns, config, namespaces)
    except CnmError as unreadable:
        invocation.warn([f"what {invocation.plugin} has left is not known: {unreadable.msg}"])
        return False
    if found:
        error.hint = f"it has left {found}: DEL again when the cause is gone, or remove it by hand"
    return bool(found)


def find(invocation: Invocation) -> str:
    """The executable's path; "" if there is none."""
    call, name = invocation.call, invocation.plugin
    if call.environ.get(GUARD):
        return ""
    folders = [folder for folder in call.cni_path.split(os.pathsep) if folder]
    places = [f"{folder}/{name}" for folder in folders]
    diverted = [f"{folder}/{name}{DIVERTED}" for folder in (os.path.dirname(invocation.program), *folders) if folder]
    return next((path for path in (*places, *diverted) if _is_other(path, invocation.program)), "")


def _is_other(path: str, program: str) -> bool:
    """Whether there is an executable that is not this program."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
        return False
    try:
        ours = os.stat(program)
    except OSError:
        ours = None
    if ours is not None and (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
        return False
    if found.st_size > _RELAY_MAX:
        return True
    try:
        with open(path, "rb") as file:
            return _RELAY_MARK not in file.read()
    except OSError:
        return False


def _namespace(invocation: Invocation) -> str:
    """CNI_NETNS, or "" for a DEL if no namespace is there: the executables fail on a path that is something else."""
    call = invocation.call
    if call.verb != "DEL" or not call.netns:
        return call.netns
    try:
        invocation.controller().namespaces.open(call.netns).close()
    except (NamespaceGone, CnmError):
        return ""
    return call.netns


def _error(path: str, verb: str, code: int, output: bytes) -> DriverFailed:
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("msg"):
        given = answer.get("code")
        return DriverFailed(
            f"the plugin {path} failed on {verb}: {answer['msg']}",
            code=given if isinstance(given, int) else 0,
            details=str(answer.get("details") or ""),
        )
    return DriverFailed(f"the plugin {path} ended {verb} with exit code {code} and without an answer")
