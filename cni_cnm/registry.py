"""Name to implementation: a table of modules for the built-in names, loaded when first asked for.

libnetwork's drvregistry rule holds: a built-in name is never overridden, another may be registered again
(a plugin that comes back). A name that is neither is a plugin's, where the registry has a module for `others`.
"""

from __future__ import annotations

from cni_cnm.bases import Generic, TypeVar
from cni_cnm.errors import Conflict, InvalidConfig, NoSuchDriver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

T = TypeVar("T")


class Registry(Generic[T]):
    """`get(name)` gives the implementation: a built-in module's `attribute`, or with "" the module itself.

    `others`: a module whose `named(name)` gives the implementation of any other name.
    """

    def __init__(self, what: str, built_in: Mapping[str, str], attribute: str = "DRIVER", others: str = "") -> None:
        self._what = what
        self._attribute = attribute
        self._others = others
        self._modules = dict(built_in)
        self._loaded: dict[str, T] = {}
        self._registered: dict[str, T] = {}

    def register(self, name: str, implementation: T) -> None:
        if not name:
            raise InvalidConfig(f"a {self._what} needs a name")
        if name in self._modules:
            raise Conflict(f"the {self._what} {name!r} is built in and cannot be replaced")
        self._registered[name] = implementation

    def get(self, name: str) -> T:
        """The implementation; NoSuchDriver names the ones there are."""
        found = self._loaded.get(name) or self._registered.get(name)
        if found is not None:
            return found
        module = self._modules.get(name, self._others)
        if not module:
            raise NoSuchDriver(f"there is no {self._what} {name!r}", hint=f"known here: {', '.join(self)}")
        from importlib import import_module

        loaded: Any = import_module(module)
        if name not in self._modules:
            other: T = loaded.named(name)
            return other
        implementation: T = getattr(loaded, self._attribute) if self._attribute else loaded
        self._loaded[name] = implementation
        return implementation

    def __iter__(self) -> Iterator[str]:
        yield from sorted({*self._modules, *self._registered})

    def __contains__(self, name: str) -> bool:
        return name in self._modules or name in self._registered
