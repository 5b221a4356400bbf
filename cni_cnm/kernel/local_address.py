"""Whether an address is the host's: the kernel lets a socket be bound to it. In the calling thread's namespace."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress


def is_local(address: IPAddress) -> bool:
    """True also for addresses of a local route, and for every address with the sysctl `ip_nonlocal_bind`."""
    import socket

    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
