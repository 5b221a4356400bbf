"""Generic, Protocol and TypeVar as typing's, for the type checker. At run time they are plain bases.

typing has 50 classes of its own. A call that loads no service would load them for annotations, which nothing reads.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, Protocol, TypeVar
else:

    class Generic:
        def __class_getitem__(cls, types: object) -> type:
            return cls

    class Protocol:
        pass

    def TypeVar(name: str, *, bound: object = None) -> str:  # noqa: ARG001, N802 - as typing's
        return name


__all__ = ["Generic", "Protocol", "TypeVar"]
