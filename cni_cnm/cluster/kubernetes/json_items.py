"""The items of a list in JSON, one by one while the text comes. A list of a thousand Nodes has 15 MB, one Node 15 KB.

{"kind": "NodeList", "metadata": {…}, "items": [{…}, {…}, …]}
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from json import JSONDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni_cnm.model import Json

VALUE_MAX = 4 << 20
"""Characters of one value. etcd takes objects up to 1.5 MiB."""
_SPACE = " \t\r\n"
_NUMBERS = (int, float)
_BEHIND = (",", "]", "}", *_SPACE)
"""What may come after a number."""


def items(pieces: Iterable[bytes], head: dict[str, Json]) -> Iterator[Json]:
    """Each item; `head` gets the values of all other keys. ValueError if the text is no object with a list of items."""
    text = _Text(pieces)
    text.take("{")
    while text.next_one() != "}":
        if text.next_one() == ",":
            text.take(",")
            continue
        key = text.value()
        text.take(":")
        if key != "items" or text.next_one() != "[":
            head[str(key)] = text.value()
            continue
        text.take("[")
        while text.next_one() != "]":
            if text.next_one() == ",":
                text.take(",")
            else:
                yield text.value()
        text.take("]")
    text.take("}")
    text.end()


class _Text:
    """What has come and is not read yet."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._utf8 = getincrementaldecoder("utf-8")()
        self._json = JSONDecoder()
        self._text = ""
        self._at = 0

    def next_one(self) -> str:
        """The next character that is no space."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise ValueError("it ends too early")

    def take(self, character: str) -> None:
        if self.next_one() != character:
            raise ValueError(f"it has {self.next_one()!r}, where {character!r} must be")
        self._at += 1

    def end(self) -> None:
        """All must be read, or the connection cannot be used again."""
        while not self._text[self._at :].strip(_SPACE):
            if not self._more():
                return
        raise ValueError("more comes behind it")

    def value(self) -> Json:
        self.next_one()
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                if len(self._text) - self._at > VALUE_MAX or not self._more():
                    raise ValueError("a value is no JSON, or too long") from None
                continue
            if type(found) in _NUMBERS and self._text[end : end + 1] not in _BEHIND and self._more():
                continue  # as `1.` or `1`, of which more comes
            self._at = end
            return found

    def _more(self) -> bool:
        """False at the end."""
        piece = next(self._pieces, None)
        text = self._utf8.decode(piece or b"", piece is None)
        self._text = self._text[self._at :] + text
        self._at = 0
        return piece is not None
