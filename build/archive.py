"""Runs first in the bundle: modules that calls load are read from one file, the others are files of their own.

Python's importer looks for each module in the file system, and opens, reads and closes its file: 0.1 ms each. A pod
loads 200. `modules.bin` has an index (name: is it a package, begin, end), after its length in four bytes, and then the
code of the modules.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

_LENGTH = 4


class _Archive:
    """A finder and loader of the modules in the file."""

    def __init__(self, root):
        self._root = root
        descriptor = posix.open(f"{root}/modules.bin", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            self._data = memoryview(posix.read(descriptor, posix.fstat(descriptor).st_size))
        finally:
            posix.close(descriptor)
        self._begin = _LENGTH + int.from_bytes(self._data[:_LENGTH], "little")
        self._index = loads(self._data[_LENGTH : self._begin])

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - as the interpreter calls it
        place = self._index.get(name)
        if place is None:
            return None
        package = place[0]
        folder = f"{self._root}/{name.replace('.', '/')}"
        spec = ModuleSpec(name, self, origin=f"{folder}/__init__.pyc" if package else f"{folder}.pyc")
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [folder]
        return spec

    def create_module(self, spec):  # noqa: ARG002 - likewise; None: an empty module
        return None

    def exec_module(self, module):
        _, begin, end = self._index[module.__name__]
        exec(loads(self._data[self._begin + begin : self._begin + end]), module.__dict__)


sys.meta_path.insert(0, _Archive(sys._MEIPASS))  # noqa: SLF001 - where PyInstaller says that the folder is
