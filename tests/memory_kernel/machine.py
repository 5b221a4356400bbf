"""What the namespaces of one machine share."""

from __future__ import annotations

from collections.abc import Sequence


class Machine:
    """Features of the kernel, and MAC addresses that no two links share.

    `vlan_filtering` False: bridges cannot filter VLANs. `missing`: kinds of links without a driver (`ipvlan`, `vlan`).
    """

    def __init__(self, *, vlan_filtering: bool = True, missing: Sequence[str] = ()) -> None:
        self.vlan_filtering = vlan_filtering
        self.missing = frozenset(missing)
        self._macs = 0

    def next_mac(self) -> str:
        self._macs += 1
        return "02:" + ":".join(f"{byte:02x}" for byte in self._macs.to_bytes(5, "big"))
