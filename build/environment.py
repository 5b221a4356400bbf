"""Runs first in the bundle: restores the environment that the launcher has changed.

The launcher starts itself again with LD_LIBRARY_PATH set to its own libraries. A delegated IPAM or nft,
which it starts, must load the host's libraries.
"""

import os

for name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[name]
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original
