"""Docker's plugin protocol: the messages, and how a plugin is found and called.

    body                the JSON body of a call, and the error it can carry
    plugin_messages     what a plugin is: Activate, GetCapabilities, Discover
    network_messages    NetworkDriver's calls about networks
    endpoint_messages   NetworkDriver's calls about endpoints
    join_messages       NetworkDriver's calls about an endpoint in its sandbox
    ipam_messages       IpamDriver's calls
    options             labels in the Options of networks and endpoints
    ports               published and exposed ports in those
    discovery           the socket or address of a plugin
    http                one call
    plugin              a plugin that was found and activated; calls that remove, and calls that undo

Both sides use the messages: the drivers that call a plugin, and the server that is one. What Docker's documentation
leaves out was recorded from a dockerd that called a plugin which logs every request.
"""

from __future__ import annotations

ACTIVATE = "Plugin.Activate"
NETWORK_DRIVER = "NetworkDriver"
IPAM_DRIVER = "IpamDriver"
