"""Run first in the bundle: take back what its launcher did to the environment.

The launcher starts itself again with LD_LIBRARY_PATH at its own libraries; an executable that we start in turn (a
delegated IPAM, nft) must find the host's.
"""

import os

for name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[name]
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original
