"""What a frontend needs of the engine for whole attachments; `cnm.controller.Controller` provides it."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.kernel import Namespaces
    from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, IpamSpec, NetworkSpec


class Engine(Protocol):
    @property
    def namespaces(self) -> Namespaces: ...

    def families(self, network: NetworkSpec, endpoint: EndpointSpec, /) -> tuple[int, ...] | None:
        """IP versions of the addresses an attach gives, in order; None if only the IPAM knows. No effects."""

    def attach(self, network: NetworkSpec, endpoint: EndpointSpec, /) -> Attachment:
        """All or nothing."""

    def detach(self, key: EndpointKey, endpoint: EndpointSpec | None, ipam: IpamSpec | None, /) -> Sequence[str]:
        """No error if there is nothing. `ipam`: the configuration's, for an endpoint without record. Log notes."""

    def check(self, network: NetworkSpec, endpoint: EndpointSpec, previous: Attachment | None, /) -> Sequence[str]:
        """CheckFailed names what differs; else warnings. Writes nothing."""

    def collect(
        self, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str], /
    ) -> Sequence[str]:
        """Detach the owner's endpoints of the network that are not valid. Returns notes on those that are kept."""

    def status(self, network: NetworkSpec, /, *, exhausted_is_error: bool) -> Sequence[str]:
        """NotReady if an attach cannot work; else warnings."""
