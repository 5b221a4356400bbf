"""HeldPorts: ports of the host that are kept from its own processes while a container has them."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cni_cnm.model import PortMapping


class HeldPorts(Protocol):
    def hold(self, owner: str, port: PortMapping) -> bool:
        """Hold a published port for an endpoint. False if a process of the host has it. Held already is no error.

        A port that cannot be held for another reason, such as a missing right, is published without.
        """

    def keep(self, owner: str, ports: Collection[PortMapping]) -> None:
        """Of the ports held for an endpoint hold these only."""
