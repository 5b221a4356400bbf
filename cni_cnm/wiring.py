"""The one place that picks the real kernel, the real store and the settings."""

from __future__ import annotations

from _thread import allocate_lock

from cni_cnm import settings as settings_module
from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.state import epoch
from cni_cnm.state.files import FileStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from cni_cnm.cluster.membership import Membership
    from cni_cnm.kernel import Namespaces, Nft
    from cni_cnm.settings import Settings


def open_controller(
    settings: Settings | str | PathLike[str] | None = None,
    namespaces: Namespaces | None = None,
    nft: Callable[[], Nft] | None = None,
) -> Controller:
    """Open the networks, endpoints and sandboxes of this host.

    The host is the network namespace of the calling thread. Changing anything needs root.

    Args:
        settings: the settings, or the path of a settings file. By default it is the file that CNI_CNM_CONFIG
            names, or /etc/cni-cnm/config.toml if that is there.
        namespaces: opens network namespaces, for a caller that has descriptors. By default they are opened by path.
        nft: opens nftables, for a caller that keeps it open for several controllers.

    Raises:
        InvalidConfig: the settings are wrong; the message names the file and the key.
        IoFailed: the settings cannot be read.
    """
    from cni_cnm.firewall import TABLES
    from cni_cnm.kernel.foreign_firewalls import KernelForeignFirewalls
    from cni_cnm.kernel.netns import KernelNamespaces

    chosen = settings_module.put_in_force(settings_module.resolve(settings))
    shared = _SharedNft()
    open_nft = nft or shared.nft
    host = Host(
        chosen,
        FileStore(chosen.run_dir, chosen.state_dir),
        namespaces or KernelNamespaces(),
        open_nft,
        epoch.current(),
        KernelForeignFirewalls(open_nft, TABLES),
        shared.close,
        _cluster(chosen),
    )
    return Controller(host)


def _cluster(settings: Settings) -> Membership | None:
    if settings.cluster is None:
        return None
    from cni_cnm.cluster.membership import SettingsMembership

    return SettingsMembership(settings.cluster, settings.state_dir)


class _SharedNft:
    """One nftables for all callers: closing its sockets costs more than using them (kernel/nftables/nfnetlink.py)."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._nft: Nft | None = None

    def nft(self) -> Nft:
        with self._lock:
            if self._nft is None:
                from cni_cnm.kernel.nft import KernelNft

                self._nft = KernelNft()
            return self._nft

    def close(self) -> None:
        self._nft = None
