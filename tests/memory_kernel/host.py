"""What the engine is handed of a host: records in a folder of the test, network and packet filter in memory."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.cnm.host import Host
from cni_cnm.kernel import Nft
from cni_cnm.settings import Settings
from cni_cnm.state.files import FileStore
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft


def memory_host(
    folder: Path | str,
    namespaces: MemoryNamespaces | None = None,
    nft: MemoryNft | None = None,
    *,
    epoch: str = "epoch",
) -> Host:
    """Two hosts in the same folder, with the same namespaces and packet filter, are the same host in two processes."""
    settings = Settings(f"{folder}/run", f"{folder}/state", f"{folder}/leases", log="none")
    filters = nft or MemoryNft()

    def opened() -> Nft:
        return filters

    store = FileStore(settings.run_dir, settings.state_dir)
    return Host(settings, store, namespaces or MemoryNamespaces(), opened, epoch)
