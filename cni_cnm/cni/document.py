"""The configuration on stdin: JSON as Go's encoding/json reads it, because runtimes are written for that.

Of a key given twice the last value counts. null counts as absent. Keys are matched in any case (cni_cnm/fields.py).
"""

from __future__ import annotations

from itertools import chain

from cni_cnm.errors import DecodeFailed, shown
from cni_cnm.json_text import decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from cni_cnm.model import Json

LIMIT_BYTES = 4 << 20
LIMIT_DEPTH = 64
_MANY = 64
"""Objects, as of port mappings: from here on it is worth looking for keys that are given twice, all at once."""


def decode(raw: bytes) -> dict[str, Json]:
    """The object on stdin. DecodeFailed for anything else, or more than LIMIT_BYTES or LIMIT_DEPTH of it."""
    if len(raw) > LIMIT_BYTES:
        raise DecodeFailed(f"the network configuration is larger than {LIMIT_BYTES >> 20} MiB")
    try:
        document = _plain(raw) if raw.count(b"{") > _MANY else None
        checked = document is not None
        if document is None:
            document = _decode_ordered(raw.decode())
    except UnicodeDecodeError as error:
        raise DecodeFailed(f"the network configuration is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise DecodeFailed(_TOO_DEEP) from None
    except ValueError as error:
        if not raw.strip():
            hint = "it is expected on stdin; to use the command line, unset CNI_COMMAND"
            raise DecodeFailed("the network configuration is empty", hint=hint) from None
        hint = "remove the comma before it" if _follows_comma(raw.decode(), error) else ""
        raise DecodeFailed(f"the network configuration is not JSON: {error}", hint=hint) from None
    if not isinstance(document, dict):
        raise DecodeFailed(f"the network configuration is {shown(document)}, it must be a JSON object")
    if not checked and raw.count(b"{") + raw.count(b"[") > LIMIT_DEPTH:
        _check_depth(document)
    if b"\\u" in raw:
        replaced: dict[str, Json] = _without_surrogates(document)
        return replaced
    return document


def _follows_comma(text: str, error: ValueError) -> bool:
    """Whether a bracket closes after a comma: the parser's own sentence does not say that."""
    at: int = getattr(error, "pos", 0)
    return text[at : at + 1] in ("}", "]") and text[:at].rstrip().endswith(",")


_TOO_DEEP = f"the network configuration is nested deeper than {LIMIT_DEPTH} levels"


def _plain(raw: bytes) -> Json:
    """The document read without a call for each object. None where that might differ: a key is given twice.

    Without backslashes each colon stands after a key or inside a text. As many are in the document that was read if
    no key was replaced by a second one. Errors are those of `decode`, with the one for LIMIT_DEPTH.
    """
    if b"\\" in raw:
        return None
    document: Json = _decode_plain(raw.decode())
    colons, depth, level = 0, 0, [document]
    while level:
        if depth == LIMIT_DEPTH:
            raise DecodeFailed(_TOO_DEEP)
        depth += 1
        kinds = set(map(type, level))
        objects = [value for value in level if type(value) is dict] if dict in kinds else []
        lists = [value for value in level if type(value) is list] if list in kinds else []
        texts = [value for value in level if type(value) is str] if str in kinds else []
        keys = list(chain.from_iterable(objects))
        colons += len(keys) + "".join(keys).count(":") + "".join(texts).count(":")
        level = list(chain.from_iterable((*map(dict.values, objects), *lists)))
    return document if colons == raw.count(b":") else None


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Of a key given twice the last one counts, at its place. A null after a value is ignored."""
    found: dict[str, Json] = {}
    for key, value in pairs:
        if value is None and key in found:
            continue
        found.pop(key, None)
        found[key] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:80]} is out of range")
    return value


_decode_ordered = decoder(_object, _refuse, _finite)
_decode_plain = decoder(None, _refuse, _finite)


def _check_depth(document: Json) -> None:
    level = [document]
    for _ in range(LIMIT_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise DecodeFailed(_TOO_DEEP)


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _without_surrogates(value: Json) -> Json:
    """Lone surrogates (`\\ud800`) become U+FFFD as in Go: no file and no kernel call takes them."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
