"""Typed reading of one untyped object: JSON of a request, an answer, a record or a configuration, or TOML.

Keys are found in any capitals, as Go's decoder finds them, and of several the last counts. null is as absent, and for
values that are parsed from text the empty text is as well. Unknown keys are ignored. A wrong value is one sentence
with the key, as its specification spells it, and the value; the caller chooses the error's class.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from cni_cnm.errors import CnmError
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

    T = TypeVar("T")

_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number"}
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")


class Fields:
    """One object. `prefix` stands before its keys in messages: `ipam.`, or `NetworkDriver.Join: `.

    `words`: true, false and numbers may be written as text, as labels have them (Go's strconv.ParseBool).
    """

    def __init__(
        self, raw: Json, prefix: str = "", *, error: type[CnmError] = InvalidConfig, words: bool = False
    ) -> None:
        if raw is None:
            raw = {}
        elif not isinstance(raw, dict):
            raise error(f"{prefix.rstrip('.: ') or 'the document'} is {shown(raw)}, it must be an object")
        self.spelled: Mapping[str, Json] = raw
        """The object as it was given."""
        self._prefix = prefix
        self._error = error
        self._words = words
        self._values = {key.lower(): value for key, value in raw.items() if value is not None}

    def __contains__(self, key: str) -> bool:
        return key.lower() in self._values

    def name(self, key: str) -> str:
        """The key with where it stands, for messages."""
        return f"{self._prefix}{key}"

    def wrong(self, key: str, must: str) -> CnmError:
        """The error to raise for a value that is not what it must be."""
        return self._error(f"{self.name(key)} is {shown(self.raw(key))}, it must be {must}")

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Raise the error for the first key that is none of these."""
        for key in self.spelled:
            if key not in known:
                from cni_cnm import spelling

                raise self._error(f"{self.name(key)} is an unknown key", hint=spelling.hint(key, known))

    # values as decoded ------------------------------------------------------

    def raw(self, key: str) -> Json:
        """The value as decoded, None if absent."""
        return self._values.get(key.lower())

    def text(self, key: str, default: str = "") -> str:
        """A string that a file name or a kernel call can take."""
        value = self._values.get(key.lower())
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, _KINDS[str])
        if not value.isascii() or "\0" in value:
            self._refuse_unusable(value, key)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._values.get(key.lower())
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if self._words and isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        raise self.wrong(key, _KINDS[bool])

    def whole(self, key: str, default: int = 0, low: int | None = None, high: int | None = None) -> int:
        """A whole number. 1500.0 is none, as in Go."""
        value = self._values.get(key.lower())
        if value is None:
            return default
        if self._words and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, _KINDS[int])
        if (low is not None and value < low) or (high is not None and value > high):
            raise self.wrong(key, f"between {low} and {high}")
        return value

    def items(self, key: str) -> Sequence[Json]:
        """A list, empty if absent."""
        value = self._values.get(key.lower())
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self.wrong(key, _KINDS[list])
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self._error(f"{self.name(key)}[{index}] is {shown(value)}, it must be a string")
            self._refuse_unusable(value, f"{key}[{index}]")
        return tuple(values)

    def mapping(self, key: str) -> Mapping[str, Json]:
        """A nested object as decoded, empty if absent."""
        value = self._values.get(key.lower())
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, _KINDS[dict])
        return value

    def text_mapping(self, key: str) -> Mapping[str, str]:
        """A nested object whose values are strings, its keys as spelled."""
        values = self.mapping(key)
        for name, value in values.items():
            if not isinstance(value, str):
                raise self._error(f"{self.name(key)}[{shown(name)}] is {shown(value)}, it must be a string")
            self._refuse_unusable(name, key)
            self._refuse_unusable(value, key)
        return values

    def object(self, key: str) -> Fields:
        """A nested object, one without keys if absent."""
        return Fields(self.mapping(key), f"{self.name(key)}.", error=self._error, words=self._words)

    def optional_object(self, key: str) -> Fields | None:
        """A nested object, None if absent."""
        return self.object(key) if key in self else None

    def objects(self, key: str) -> Sequence[Fields]:
        """A list of objects."""
        return objects(self.items(key), self.name(key), error=self._error, words=self._words)

    # values parsed from text ------------------------------------------------

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """The string as `parse` reads it, None if absent or empty. `parse` says by ValueError what it must be."""
        text = self.text(key)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as rule:
            raise self.wrong(key, str(rule)) from None

    def required(self, key: str, parse: Callable[[str], T]) -> T:
        """As `parsed`, of a string that must be there and not empty."""
        value = self.parsed(key, parse)
        if value is None:
            raise self._error(f"{self.name(key)} is missing")
        return value

    def address(self, key: str) -> IPAddress | None:
        return self.parsed(key, validate.address)

    def interface(self, key: str) -> IPInterface | None:
        return self.parsed(key, validate.interface)

    def network(self, key: str) -> IPNetwork | None:
        return self.parsed(key, validate.network)

    def mac(self, key: str) -> str:
        """As lower-case pairs with colons, "" if absent."""
        return self.parsed(key, validate.mac) or ""

    # ------------------------------------------------------------------------

    def _refuse_unusable(self, text: str, key: str) -> None:
        """A NUL, and half a surrogate pair, which JSON can carry and no file or socket takes."""
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(f"{self.name(key)} is {shown(text)}, it must be text without NUL and lone surrogates")


def objects(values: Json, name: str, *, error: type[CnmError] = InvalidConfig, words: bool = False) -> Sequence[Fields]:
    """A list of objects that is called `name` in messages; `error` and `words` as in `Fields`."""
    if not isinstance(values, list | tuple):
        raise error(f"{name} is {shown(values)}, it must be {_KINDS[list]}")
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise error(f"{name}[{index}] is {shown(value)}, it must be {_KINDS[dict]}")
    return [Fields(value, f"{name}[{index}].", error=error, words=words) for index, value in enumerate(values)]


def lowered(value: Json, path: str = "") -> Json:
    """A copy, the keys of all objects in lower case, without nulls. InvalidConfig for text with a NUL."""
    if isinstance(value, dict):
        return {
            key.lower(): lowered(item, f"{path}.{key}" if path else key)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [lowered(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str) and "\0" in value:
        raise InvalidConfig(f"{path} is {shown(value)}, it must not contain a NUL")
    return value
