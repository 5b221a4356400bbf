"""NamedTuple as typing's, which costs little to define: a call defines 60 of them, and a pod may pay for that.

typing compiles the text of each annotation, which nothing here reads. collections.namedtuple compiles a constructor for
each class: a third of a million instructions. Here constructors with as many fields share their code.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple  # noqa: TID251
else:
    from _collections import _tuplegetter
    from types import FunctionType

    _codes: dict[int, Any] = {}
    """Of constructors, by the number of fields."""
    _globals = {"_new": tuple.__new__}

    def _constructor(owner: str, fields: tuple[str, ...], defaults: tuple[Any, ...]) -> FunctionType:
        """`def __new__(_cls, field, …): return _new(_cls, (field, …))`; defaults are of the last fields."""
        code = _codes.get(len(fields))
        if code is None:
            names = "".join(f"_{number}, " for number in range(len(fields)))
            code = _codes[len(fields)] = eval(f"lambda _cls, {names}: _new(_cls, ({names}))").__code__  # noqa: S307
        code = code.replace(co_varnames=("_cls", *fields), co_name="__new__", co_qualname=f"{owner}.__new__")
        return FunctionType(code, _globals, "__new__", defaults)

    class _Values(tuple):
        __slots__ = ()

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"{type(self).__name__} has no fields {list(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            values = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self):
            return tuple(self)

    class _Meta(type):
        def __new__(cls, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
            """The class statement's fields and defaults become those of a tuple."""
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            if (*defaults,) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            for number, field in enumerate(fields):
                namespace[field] = _tuplegetter(number, None)
            namespace["__new__"] = _constructor(namespace["__qualname__"], fields, tuple(defaults.values()))
            namespace["__slots__"] = ()
            namespace["__match_args__"] = namespace["_fields"] = fields
            namespace["_field_defaults"] = defaults
            return type(name, (_Values,), namespace)

    class NamedTuple(metaclass=_Meta):
        """The base of values: `class Point(NamedTuple)` with annotated fields."""


__all__ = ["NamedTuple"]
