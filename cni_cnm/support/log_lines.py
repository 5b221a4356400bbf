"""Lines of the log, without their texts: an error's text quotes what a configuration or a runtime has given."""

from __future__ import annotations

import json
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.model import Json

LINES_MAX = 2000
_BYTES_MAX = 2 << 20
_VERBS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "REPAIR", "NOTICE", "CLUSTER")
_TEXT = re.compile(
    rf"^(?P<time>[0-9T:+-]{{19,30}}) cni-cnm\[(?P<pid>\d+)\]: (?:(?P<verb>{'|'.join(_VERBS)}) .*?|(?=failed, code ))"
    r"(?:failed, code (?P<code>\d+): .*?)?(?P<ms>[0-9]+\.[0-9]) ms$"
)


def of_file(path: str) -> list[Mapping[str, Json]]:
    """The last lines, each with time, pid, verb, code and ms. Lines of another form are left out.

    `verb` is "" for a request whose verb was not known.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _BYTES_MAX))
            lines = file.read(_BYTES_MAX).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [found for line in lines[-LINES_MAX:] for found in _fields(line)]


def _fields(line: str) -> Iterator[Mapping[str, Json]]:
    if line.startswith("{"):
        try:
            raw = json.loads(line)
        except ValueError:
            return
        first = "" if "code" in raw else str(raw.get("message", "")).partition(" ")[0] or None
        verb = raw.get("verb", first)
        found = {"time": raw.get("time"), "pid": raw.get("pid"), "verb": verb}
        found |= {"code": raw.get("code", 0), "ms": raw.get("ms")}
    else:
        match = _TEXT.match(line)
        if match is None:
            return
        found = {"time": match["time"], "pid": int(match["pid"]), "verb": match["verb"] or ""}
        found |= {"code": int(match["code"] or 0), "ms": float(match["ms"])}
    time, numbers = found["time"], (found["pid"], found["code"], found["ms"])
    if (
        found["verb"] in (*_VERBS, "")
        and isinstance(time, str)
        and re.fullmatch(r"[0-9T:+-]{19,30}", time)
        and all(type(number) in (int, float) for number in numbers)
    ):
        yield found
