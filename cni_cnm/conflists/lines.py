"""On which line of a JSON text each key and each member of a list is."""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecoder
from json import decoder as json_decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_decode_text: Callable[[str, int], tuple[str, int]] = json_decoder.scanstring  # type: ignore[attr-defined]
_decode = JSONDecoder().raw_decode
_BLANKS = re.compile(r"[ \t\n\r]*")
_KEY = re.compile(r"[A-Za-z][\w./-]*(?:\[\d+\])*(?:\.[\w./-]+(?:\[\d+\])*)*")
"""What may be a key in a sentence, with where it is: `ipam.ranges[0][0].subnet`."""


class Lines:
    """Lines of a valid JSON text, by paths such as `plugins[0].ipam.subnet`, in any capitals."""

    def __init__(self, text: str) -> None:
        self._offsets: dict[str, int] = {}
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._value(text, 0, "")

    def of(self, path: str, default: int = 1) -> int:
        """The line of a key or a member, counted from 1; `default` if there is none."""
        offset = self._offsets.get(path.lower())
        return default if offset is None else self._line(offset)

    def named(self, sentence: str, under: str) -> int:
        """The line of the first key below `under` that a sentence names; of `under` itself if it names none.

        A key counts by its last part as well: sentences of drivers do not say where their keys are.
        """
        below = f"{under.lower()}." if under else ""
        for match in _KEY.finditer(sentence):
            word = match[0].rstrip(".").lower()
            if below + word in self._offsets:
                return self._line(self._offsets[below + word])
            for path, offset in self._offsets.items():
                if path.startswith(below) and path.endswith(f".{word}"):
                    return self._line(offset)
        return self.of(under)

    def _line(self, offset: int) -> int:
        return bisect_right(self._breaks, offset) + 1

    def _value(self, text: str, at: int, path: str) -> int:
        """Take note of what is in the value at `at`. Returns where it ends."""
        at = _skip(text, at)
        if text[at] == "{":
            return self._members(text, at, path, closing="}")
        if text[at] == "[":
            return self._members(text, at, path, closing="]")
        return _decode(text, at)[1]

    def _members(self, text: str, at: int, path: str, *, closing: str) -> int:
        at, number = _skip(text, at + 1), 0
        while text[at] != closing:
            if closing == "}":
                key, end = _decode_text(text, at + 1)
                inner = f"{path}.{key.lower()}" if path else key.lower()
                self._offsets[inner] = at
                at = _skip(text, end) + 1  # behind the colon
            else:
                inner = f"{path}[{number}]"
                self._offsets[inner] = at
                number += 1
            at = _skip(text, self._value(text, at, inner))
            if text[at] == ",":
                at = _skip(text, at + 1)
        return at + 1


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at
