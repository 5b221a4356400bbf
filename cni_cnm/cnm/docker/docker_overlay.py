"""Docker's networks on overlay networks: Docker requests the subnet of all hosts, and gets this host's block of it."""

from __future__ import annotations

from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import configured_network
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.network.delete_network import remove_network
from cni_cnm.cnm.network.grow_overlay import refuse_lost
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPNetwork


def join(host: Host, name: str, subnet: IPNetwork | None, options: Mapping[str, str]) -> None:
    """Join an overlay network that Docker is about to share, if this host has not yet. It stays, as CNI's do.

    `options`: as in a configuration's `options`, such as block; they count where the network is made for all hosts.
    """
    with host.store.lock(f"network/{name}"):
        record = load_network(host.store, name)
        if record is not None and record.pending:
            remove_network(host, record)
        elif record is not None:
            if not overlay_record.is_overlay(record):
                raise InvalidConfig(
                    f"the network {name} of this host has the driver {record.driver}", hint="leave out cni-cnm.driver"
                )
            return
        config = {"subnet": str(subnet)} if subnet is not None else {}
        labels = {"labels": dict(options)} if options else {}
        spec = NetworkSpec(name, OVERLAY, {"profile": "cnm", **labels}, IpamSpec("host-local", config))
        create_network(host, configured_network.read(spec))


def block_for(network: NetworkRecord, subnet: IPNetwork | None, family: int) -> IPNetwork | None:
    """This host's block of the subnet that Docker requests; None if that is not the subnet of all hosts.

    The first block that other hosts do not have now. NotReady if there is none.
    """
    if subnet is None or subnet not in overlay_record.all_subnets(network):
        return None
    refuse_lost(network)
    lost = overlay_record.lost(network)
    block = next(block for block in overlay_record.blocks(network) if block[0] not in lost)
    return next(one for one in block if one.version == family)
