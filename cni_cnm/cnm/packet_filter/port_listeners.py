"""Processes of the host that listen on a published port. The packet filter's rule comes first, so they get nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPAddress, PortMapping


def warnings(ports: Sequence[PortMapping]) -> tuple[str, ...]:
    """A sentence for each published port that a process of the host listens on.

    No error: it may be a proxy that the container's runtime starts for the port.
    """
    from cni_cnm.kernel.sock_diag import listeners

    found = {protocol: tuple(listeners(protocol)) for protocol in {port.protocol for port in ports}}
    return tuple(
        f"a process of the host listens on {listener}: it gets no more connections to the published host port {port}"
        for port in ports
        for listener in found[port.protocol]
        if port.host_port <= listener.port < port.host_port + port.size and _overlap(port.host_ip, listener.address)
    )


def _overlap(published: IPAddress | None, listening: IPAddress) -> bool:
    """True if a packet can be for both addresses. [::] takes IPv4 as well, which is Linux's default."""
    if published is None or listening == published:
        return True
    if published.is_unspecified and listening.version == published.version:
        return True
    return listening.is_unspecified and (listening.version == 6 or published.version == 4)
