"""JSON by the functions in C that the json package has, too.

The package itself loads regular expressions and compiles six of them: a tenth of a call where no service runs. It is
loaded for the words of an error.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from cni_cnm.model import Json

_BLANKS = " \t\n\r"


class _Hooks:
    """What the scanner asks for each of these values."""

    strict = True
    object_hook = None
    parse_int = int
    memo: dict[str, str]

    def __init__(
        self,
        object_pairs_hook: Callable[[list[tuple[str, Json]]], Any] | None,
        parse_constant: Callable[[str], Any],
        parse_float: Callable[[str], Any],
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = parse_constant
        self.parse_float = parse_float


def decoder(
    object_pairs_hook: Callable[[list[tuple[str, Json]]], Any] | None = None,
    parse_constant: Callable[[str], Any] = float,
    parse_float: Callable[[str], Any] = float,
) -> Callable[[str | bytes], Json]:
    """A function as json.loads with these hooks; bytes are UTF-8. It raises ValueError, or what a hook raises."""
    scan = make_scanner(_Hooks(object_pairs_hook, parse_constant, parse_float))  # type: ignore[arg-type]

    def decode(text: str | bytes) -> Json:
        if isinstance(text, bytes):
            text = text.decode()
        try:
            value, end = scan(text, len(text) - len(text.lstrip(_BLANKS)))
        except (StopIteration, SystemError):  # the latter where json.JSONDecodeError is not loaded
            _explain(text)
        if end < len(text) and text[end:].strip(_BLANKS):
            _explain(text)
        return value

    def _explain(text: str) -> NoReturn:
        import json

        json.loads(text)
        raise ValueError("it cannot be read")

    return decode


def encoder(separators: tuple[str, str] = (", ", ": "), *, sort_keys: bool = False) -> Callable[[Json], str]:
    """A function as json.dumps. `separators`: between items, and behind a key."""
    item, key = separators
    encode = make_encoder(None, _refuse, encode_basestring_ascii, None, key, item, sort_keys, False, True)
    return lambda value: "".join(encode(value, 0))


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
