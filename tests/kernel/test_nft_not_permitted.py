"""Without CAP_NET_ADMIN the kernel answers no question about nftables: that is an error, and not an empty ruleset."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.firewall import TABLES
from cni_cnm.kernel import privileges
from cni_cnm.kernel.nft import KernelNft


@pytest.mark.parametrize(
    "question",
    [
        lambda nft: nft.counters(TABLES),
        lambda nft: nft.handles(TABLES),
        lambda nft: nft.tables(),
        lambda nft: nft.base_chains(),
        lambda nft: nft.require(),
    ],
)
def test_a_question(question: Callable[[KernelNft], object]) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            privileges.keep((), executes=False)
            question(KernelNft())
        except KernelError as error:
            code = 0 if error.errno == errno.EPERM and "CAP_NET_ADMIN" in error.hint else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
