"""The network of a Kubernetes cluster on this node, before its first pod: joined, its bridge made, its file written.

the node has a block ──► assign: network and bridge ──► the agent compares routes ──► write: the runtime starts pods

The path of the file is recorded first, so that scripts/install removes it also when the settings have changed.
"""

from __future__ import annotations

from cni_cnm.cluster import rules
from cni_cnm.cluster.values import FIRST_VNI, OverlayNetwork
from cni_cnm.cnm import overlay_record
from cni_cnm.cnm.network import assign_block
from cni_cnm.cnm.packet_filter import overlay_elements
from cni_cnm.cnm.records import load_network
from cni_cnm.conflists import pod_network, written_files
from cni_cnm.errors import CnmError
from cni_cnm.firewall.remote_blocks import OwnSide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cni_cnm.cluster.values import Block
    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import IPAddress, IPNetwork


class PodNetwork:
    """Of one node. `note` writes a line to the log."""

    def __init__(self, host: Host, settings: ClusterSettings, note: Callable[[str], None]) -> None:
        self.name = settings.network
        self._path = settings.conflist
        self._host = host
        self._note = note
        self._wrong = ""
        """What was said of the file."""
        self._not_held = ""
        """What was said of a record that could not be changed."""
        self._is_recorded = False

    def assign(self, network: OverlayNetwork, block: Block, holders: Mapping[IPNetwork, str]) -> bool:
        """Whether anything was changed. Raises what assign_block.py names, and what makes a network impossible."""
        return assign_block.assign(self._host, pod_network.spec(self.name), network, block, holders)

    def hold(self, why: str) -> None:
        """No address is given while this host must not give one. What cannot be written is tried again at each tick."""
        try:
            wrong = ""
            if assign_block.hold(self._host, self.name, why):
                self._note(f"network {self.name} gives {f'no address: {why}' if why else 'addresses again'}")
        except CnmError as error:
            wrong = f"network {self.name} gives addresses as before, because its record cannot be written: {error}"
        if wrong and wrong != self._not_held:
            self._note(wrong)
        self._not_held = wrong

    def raise_bridge(self, addresses: Collection[IPAddress]) -> str:
        """Make the bridge with its gateways if `addresses`, those of this host, lack one. A reboot has removed it.

        A sentence if that is not possible.
        """
        record = load_network(self._host.store, self.name)
        if record is None or record.pending or not overlay_record.is_overlay(record):
            return ""
        lost = overlay_record.lost(record)
        own = [block for block in overlay_record.blocks(record) if block[0] not in lost]
        lacking = [subnet[1] for block in own for subnet in block if subnet[1] not in addresses]
        if not lacking:
            return ""
        try:
            assign_block.raise_bridge(self._host, self.name)
        except CnmError as error:
            return f"its bridge {record.policy.bridge} does not have the gateway {lacking[0]}: {error}"
        return ""

    def write(self) -> None:
        """The file of the runtime, if it is not there as it is to be."""
        if not self._path:
            return
        try:
            wrong = ""
            if not self._is_recorded:
                written_files.add(self._host.settings.state_dir, self._path)
                self._is_recorded = True
            if pod_network.write(self._path, self.name):
                self._note(f"network {self.name}: {self._path} is written")
        except CnmError as error:
            wrong = str(error)
        if wrong and wrong != self._wrong:
            self._note(wrong)
        self._wrong = wrong


def wanted_network(settings: ClusterSettings) -> OverlayNetwork:
    """The one network, as the settings have it."""
    direct = rules.direct(settings.direct)
    return OverlayNetwork(settings.network, "", settings.subnets, (), FIRST_VNI, settings.port, direct)


def own_side(record: NetworkRecord) -> OwnSide:
    """What the packet filter needs of a network, for the blocks of other hosts."""
    return OwnSide(record.id, record.name, record.policy, tuple(overlay_elements.gateways(record)))
