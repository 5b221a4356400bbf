"""Runs first in the bundle: modules that calls load are read from one file, the others are files of their own.

Python's importer looks for each module in the file system, and opens, reads and closes its file: 0.1 ms each. A pod
loads 150. `modules.bin` has an index (name: is it a package, begin, end), after its length in four bytes, and then the
code of the modules.

PyInstaller's own start is left out (cni-cnm.spec). What it does besides finding modules is done here.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

_LENGTH = 4
_MODULE = type(sys)


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
        folder = f"{self._root}/{name.replace('.', '/')}"
        spec = ModuleSpec(name, self, origin=f"{folder}/__init__.pyc" if place[0] else f"{folder}.pyc")
        if place[0]:
            spec.submodule_search_locations = [folder]
        return spec

    def create_module(self, spec):  # noqa: ARG002 - likewise; None: an empty module
        return None

    def exec_module(self, module):
        module.__file__ = module.__spec__.origin
        _, begin, end = self._index[module.__name__]
        exec(loads(self._data[self._begin + begin : self._begin + end]), module.__dict__)

    def load_directly(self, importlib):
        """Load the file's modules without importlib's steps, which are as dear as the modules. For one thread only."""
        find_and_load, modules = importlib._find_and_load, sys.modules  # noqa: SLF001 - what the import statement calls

        def load(name, import_):
            if name in modules or name not in self._index:
                return find_and_load(name, import_)
            parent, _, child = name.rpartition(".")
            if parent and parent not in modules:
                load(parent, import_)
                if name in modules:
                    return modules[name]
            module = modules[name] = _MODULE(name)
            spec = module.__spec__ = self.find_spec(name)
            module.__loader__ = self
            module.__package__ = parent
            if spec.submodule_search_locations is not None:
                module.__package__ = name
                module.__path__ = spec.submodule_search_locations
            try:
                self.exec_module(module)
            except BaseException:
                modules.pop(name, None)
                raise
            if parent:
                setattr(modules[parent], child, module)
            return module

        importlib._find_and_load = load  # noqa: SLF001


sys.frozen = True
_archive = _Archive(sys._MEIPASS)  # noqa: SLF001 - where PyInstaller says that the folder is
sys.meta_path.insert(0, _archive)
# A call has one thread. The service imports most modules before it has others, but not all.
if b"CNI_COMMAND" in posix.environ:
    _archive.load_directly(sys.modules["_frozen_importlib"])
