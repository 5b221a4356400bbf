"""Netlink itself (netlink(7)): sockets, headers, attributes, and pyroute2's classes that encode and decode messages."""
