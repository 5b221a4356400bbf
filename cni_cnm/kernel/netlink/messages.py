"""pyroute2's base classes of messages, which encode and decode nested attributes (kernel/netlink/encoding.py).

This is the only module that imports pyroute2. Its sockets and its `__init__` (170 ms) are not loaded: an empty package
of that name takes their place. A module with the few constants that the classes read replaces `pyroute2.config` (5 ms
of multiprocessing and platform). The C modules `_socket` and `_thread` take the place of `socket` (5 ms of enums and
selectors) and `threading` (1 ms): the classes use constants, inet_pton and locks. Modules for error messages (7 ms) are
loaded with the first error.
"""

from __future__ import annotations

import _socket
import os
import sys
from _socket import AF_BRIDGE
from _thread import RLock, _local, allocate_lock
from typing import Any


def _stand_in() -> None:
    # Asked of the finders directly: importlib.util would load contextlib for it. Works frozen too.
    specs = (finder.find_spec("pyroute2", None) for finder in sys.meta_path)
    found = next((spec for spec in specs if spec is not None), None)
    if found is None:
        raise ModuleNotFoundError("cni-cnm needs pyroute2: pip install pyroute2", name="pyroute2")
    package: Any = type(sys)("pyroute2")
    package.__path__ = found.submodule_search_locations
    package.__spec__ = found
    package.config = config = type(sys)("pyroute2.config")
    constants: dict[str, Any] = {
        "AF_BRIDGE": AF_BRIDGE,
        "data_plugins_pkgs": [],
        "data_plugins_path": [],
        "uname": (*os.uname(), ""),
        "machine": os.uname().machine,
    }
    config.__dict__.update(constants)
    sys.modules["pyroute2"] = package
    sys.modules["pyroute2.config"] = config


class _Later(type(sys)):  # type: ignore[misc] # the type of modules, without importing types
    """A module that is loaded when an attribute of it is first read."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        return getattr(import_module(self.__name__), name)


class _LaterLogging(_Later):
    def getLogger(self, name: str) -> Any:  # noqa: N802 - logging's own spelling
        return _LaterLogger(name)


class _LaterLogger:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        from logging import getLogger

        return getattr(getLogger(self._name), name)


def _module(name: str, **contents: Any) -> Any:
    module = type(sys)(name)
    module.__dict__.update(contents)
    return module


if "pyroute2" not in sys.modules:
    _stand_in()

_light = {
    "logging": _LaterLogging("logging"),
    "pkgutil": _Later("pkgutil"),
    "socket": _module("socket", **{**vars(_socket), "AddressFamily": int}),  # pyroute2 has it in annotations
    "threading": _module("threading", Lock=allocate_lock, RLock=RLock, local=_local),
    "traceback": _Later("traceback"),
}
_light = {name: module for name, module in _light.items() if name not in sys.modules}
sys.modules.update(_light)
try:
    from pyroute2.netlink import nla, nlmsg
finally:
    for _name in _light:
        del sys.modules[_name]

__all__ = ["Message", "nla", "nlmsg"]

Message = Any
"""A message of pyroute2: a mapping of header fields, with `get_attr(name)`. It has no type information."""
