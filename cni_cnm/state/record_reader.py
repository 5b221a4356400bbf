"""Reads a record as a typed value. What is not as this program writes it is an error that names the file.

A person may have edited the file, or a disk may have changed it. The types of all fields are compared, not their
values: who can write records is root.
"""

from __future__ import annotations

from _thread import _local
from types import NoneType

from cni_cnm.errors import DamagedRecord
from cni_cnm.state.store import hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from cni_cnm.memo import Memo
    from cni_cnm.model import Json
    from cni_cnm.state.store import Store

    T = TypeVar("T")

_WRONG = (TypeError, ValueError, LookupError, AttributeError)
"""What reading a value of another shape raises."""
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "bool": (bool,), "float": (float, int), "tuple": (tuple,), "Mapping": (dict,),
}  # fmt: skip
_INSIDE: dict[str, tuple[type, ...]] = {
    "str, ...]": (str,), "int, ...]": (int,), "str, str]": (str,), "str, int]": (int,),
}  # fmt: skip
"""By what stands in the brackets of an annotation."""
_LEFT_OUT = "{}; until then the record is left out, and what it names stays as it is"
_thread = _local()
_checked: dict[Any, object] = {}
"""The last value of each kind: records that are read one after the other share those of their network."""
_annotated: dict[Any, list[tuple[int, str, tuple[type, ...], tuple[type, ...], bool]]] = {}


def read(store: Store, kind: str, name: str, parse: Callable[[Json], T], memo: Memo[T] | None = None) -> T | None:
    """What `parse` makes of the record; None if there is none, or if it is empty. DamagedRecord names the file.

    With `memo` a record is parsed and checked when it has changed.
    """
    if store.kept is not None:
        return _kept(store, kind, name, parse)
    raw = store.get(kind, name)
    if not raw:
        return None
    if memo is not None:
        return parsed(store, kind, name, lambda: memo.get(name, (raw,), lambda: checked(parse(raw))))
    return parsed(store, kind, name, lambda: checked(parse(raw)))


def _kept(store: Store, kind: str, name: str, parse: Callable[[Json], T]) -> T | None:
    """The same for a store that keeps what was parsed: each record is read once."""
    kept: Any = store.kept
    key = kind, name, parse
    if key not in kept:
        raw = store.get(kind, name)
        kept[key] = parsed(store, kind, name, lambda: checked(parse(raw))) if raw else None
    found: T | None = kept[key]
    return found


def parsed(store: Store, kind: str, name: str, parse: Callable[[], T]) -> T:
    """What `parse` makes of a part of the record. DamagedRecord names the file."""
    try:
        return parse()
    except _WRONG as error:
        raise DamagedRecord(
            f"the record {store.place(kind, name)} is not as cni-cnm writes it: {type(error).__name__}: {error}",
            hint=hint(kind),
        ) from error


def readable(store: Store, kind: str, load: Callable[[str], T | None]) -> Iterator[T]:
    """What `load` makes of each record's name, without None. A damaged record is left out, and noted."""
    for name in store.names(kind):
        try:
            found = load(name)
        except DamagedRecord as error:
            note(error)
            continue
        if found is not None:
            yield found


def damaged(store: Store, kind: str, load: Callable[[str], object]) -> list[str]:
    """The names of the records that `readable` leaves out."""
    names = []
    for name in store.names(kind):
        try:
            load(name)
        except DamagedRecord:
            names.append(name)
    return names


def note(error: DamagedRecord) -> None:
    """A record was left out of a list: the frontend says so when the thread's request has ended (`take_notes`)."""
    notes = getattr(_thread, "notes", None)
    if notes is None:
        notes = _thread.notes = {}
    notes[_LEFT_OUT.format(error)] = None


def take_notes() -> list[str]:
    """The records that were left out since the last call in this thread, a sentence each."""
    notes = getattr(_thread, "notes", None)
    _thread.notes = None
    return list(notes or ())


def checked(value: T) -> T:
    """The value. TypeError if it is a named tuple with a field of another type than its annotation has.

    `Json` may be anything. A field that was parsed into a type of ours is right if it is none of JSON's containers.
    """
    cls: Any = type(value)
    if _checked.get(cls) is value:
        return value
    known = _annotated.get(cls)
    if known is None:
        known = _annotated[cls] = _known_fields(cls)
    named: Any = value
    for place, field, kinds, inner, optional in known:
        found = named[place]
        kind = type(found)
        if kind in kinds:
            if found and (kind is tuple or (inner and kind is dict)):
                _check_all(field, found if kind is tuple else found.values(), inner)
        elif found is None and optional:
            continue
        elif kinds or kind in (dict, list, NoneType):
            raise TypeError(f"{field} is {found!r:.40}")
        elif kind is tuple:
            _check_all(field, found, inner)
        else:
            checked(found)
    if known:
        _checked[cls] = value
    return value


def _known_fields(cls: Any) -> list[tuple[int, str, tuple[type, ...], tuple[type, ...], bool]]:
    """Of a named tuple the fields that are compared, each with its place in it; of any other type none."""
    fields = enumerate(getattr(cls, "_fields", ()))
    return [(place, one, *_expected(of)) for place, one in fields if (of := cls.__annotations__[one]) != "Json"]


def _expected(annotation: str) -> tuple[tuple[type, ...], tuple[type, ...], bool]:
    """Types of the value and of what is inside it, both () for any but JSON's; and whether there may be no value."""
    name, _, inside = annotation.removesuffix(" | None").partition("[")
    return _KINDS.get(name, ()), _INSIDE.get(inside, ()), annotation.endswith(" | None")


def _check_all(field: str, elements: Iterable[object], kinds: tuple[type, ...]) -> None:
    for element in elements:
        if type(element) not in kinds if kinds else element is None or isinstance(element, dict | list):
            raise TypeError(f"{field} has {element!r:.40}")
        checked(element)
