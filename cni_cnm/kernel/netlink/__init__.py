"""Netlink itself (netlink(7)): sockets, headers and attributes."""
