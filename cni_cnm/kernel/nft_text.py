"""Other programs' nftables as nft's own text, in the calling thread's network namespace: listed, and changed.

Our own tables are not handled here (nft.py).
"""

from __future__ import annotations

from errno import ENOENT

from cni_cnm.errors import KernelError
from cni_cnm.kernel.nftables import libnftables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def listing(tables: Sequence[str]) -> str:
    """What nft prints of these tables (`FAMILY NAME`), each rule with its handle; nothing of an absent one.

    Numbers stand for symbols: `fib daddr type 2`. KernelFeatureMissing without nf_tables.
    """
    runner = libnftables.runner(handles=True)
    printed = []
    for table in tables:
        try:
            printed.append(runner.run(f"list table {table}\n"))
        except KernelError as error:
            if error.errno != ENOENT:
                raise
    return "".join(printed)


def run(lines: Sequence[str]) -> None:
    """Run the commands in one transaction. KernelError with nft's message: nothing was changed."""
    libnftables.runner().run("\n".join((*lines, "")))
