"""The one place that picks the real kernel, the real store and the settings."""

from __future__ import annotations

from cni_cnm import settings as settings_module
from cni_cnm.cnm.controller import Controller
from cni_cnm.state import epoch
from cni_cnm.state.files import FileStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.kernel import Namespaces, Nft
    from cni_cnm.settings import Settings


def open_controller(
    settings: Settings | None = None,
    namespaces: Namespaces | None = None,
    nft: Callable[[], Nft] | None = None,
) -> Controller:
    """A Controller on this host's kernel. `namespaces` given: how a caller that has descriptors, not paths, opens them.

    `nft` given: how nftables is opened, for a caller that keeps it open between requests.
    """
    from cni_cnm.kernel.netns import KernelNamespaces
    from cni_cnm.kernel.others import KernelOthers

    chosen = settings or settings_module.load()
    return Controller(
        chosen,
        FileStore(chosen.run_dir, chosen.state_dir),
        namespaces or KernelNamespaces(),
        nft or _nft,
        epoch.current(),
        KernelOthers(),
    )


def _nft() -> Nft:
    from cni_cnm.kernel.nft import KernelNft

    return KernelNft()
