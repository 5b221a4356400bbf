"""Runs first in the bundle: restores the environment that the launcher has changed.

The launcher starts itself again with LD_LIBRARY_PATH set to its own libraries. A delegated IPAM or nft,
which it starts, must load the host's libraries.

If the rest of the program cannot be loaded, one sentence says so, where the interpreter would print a traceback.
"""

import os
import sys


def _not_loaded(kind, error, trace):
    if os.environ.get("CNI_CNM_DEBUG"):
        sys.__excepthook__(kind, error, trace)
    os.write(2, f"the program cannot be loaded: {kind.__name__}: {error}\n".encode(errors="backslashreplace"))
    os._exit(11)


sys.excepthook = _not_loaded
for name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[name]
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original
