"""NamedTuple as typing's, without its check of each annotation, which nothing here reads.

typing compiles the text of each annotation: for the values that a call loads that is a tenth of its instructions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple  # noqa: TID251
else:
    from collections import namedtuple

    _OWN = ("__module__", "__qualname__", "__annotations__")

    class _Meta(type):
        def __new__(cls, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
            """The class statement's fields and defaults become a namedtuple; its methods and docstring are added."""
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = namespace.get("__annotations__", {})
            defaults = [namespace[field] for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            made.__qualname__ = namespace["__qualname__"]
            made.__annotations__ = made.__new__.__annotations__ = fields
            for key, value in namespace.items():
                if key not in fields and key not in _OWN:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Meta):
        """The base of values: `class Point(NamedTuple)` with annotated fields."""


__all__ = ["NamedTuple"]
