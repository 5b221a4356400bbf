"""Whether a network namespace is the one that an endpoint has joined, whatever its path is called now.

A path may lead to another namespace later, one namespace has several paths, and the kernel uses inode numbers again.
The cookie of a namespace is never used again before the next boot.
"""

from __future__ import annotations

from cni_cnm.errors import CnmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack


def joined(host: Host, endpoint: EndpointRecord, stack: Stack) -> bool:
    """True if `stack` is of the namespace that the endpoint joined."""
    cookie = stack.cookie()
    if cookie and endpoint.netns_cookie:
        return cookie == endpoint.netns_cookie
    if stack.inode() != endpoint.netns_inode:
        return False
    # Before Linux 5.14, or recorded by version 0.1.0: in another namespace of that number our link is missing.
    port = host.stack.link(endpoint.host_ifname)
    if port is None or port.kind != "veth":
        return True
    link = stack.link(endpoint.ifname)
    return link is None or link.ifindex == port.peer


def open_joined(host: Host, endpoint: EndpointRecord) -> Stack | None:
    """The namespace that the endpoint joined, at its recorded path; None if that leads nowhere, or to another one.

    The caller closes it.
    """
    if not endpoint.netns:
        return None
    try:
        stack = host.namespaces.open(endpoint.netns)
    except CnmError:
        return None
    if joined(host, endpoint, stack):
        return stack
    stack.close()
    return None
