"""What a frontend needs of the engine for whole attachments; `cnm.controller.Controller` provides it."""

from __future__ import annotations

from typing import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.kernel import Namespaces
    from cni_cnm.model import Address, Attachment, EndpointKey, EndpointSpec, IpamSpec, Lease, NetworkSpec, Part


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

    @property
    def lists(self) -> Lists: ...


class Lists(Protocol):
    """What plugins need that this program stands in for (cni/names/); `cnm.list_requests` provides it."""

    def driver_of(self, key: EndpointKey, /) -> str:
        """The driver of an endpoint on record; "" if there is none."""

    def parts_of(self, key: EndpointKey, /) -> Sequence[str]:
        """The plugins that have added a part to an endpoint on record."""

    def extend(self, network: NetworkSpec, endpoint: EndpointSpec, part: Part, /) -> Attachment:
        """Add a part to an endpoint. `network`: for an interface that is not on record, which gets a record."""

    def withdraw(self, key: EndpointKey, plugin: str, /) -> bool:
        """Take a plugin's part from an endpoint. False if this program has not made it."""

    def check_part(self, key: EndpointKey, endpoint: EndpointSpec, part: Part, /) -> Sequence[str]:
        """CheckFailed names what differs; else warnings. Writes nothing."""

    def collect_parts(self, network: str, owner: str, valid: Sequence[EndpointKey], plugin: str, /) -> None:
        """Withdraw the parts of the owner's endpoints of the network that are not valid."""

    def lease(self, network: str, ipam: IpamSpec, endpoint: EndpointSpec, /) -> Lease:
        """Addresses for the interface of another plugin. All or none."""

    def check_lease(
        self, network: str, ipam: IpamSpec, endpoint: EndpointSpec, addresses: Sequence[Address], /
    ) -> None:
        """CheckFailed if one of the addresses is not leased to the endpoint."""

    def release(self, key: EndpointKey, ipam: IpamSpec, environ: Mapping[str, str], /) -> None:
        """No error if there is nothing."""
