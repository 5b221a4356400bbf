"""Netlink itself (netlink(7)): sockets, headers and attributes; pyroute2's classes for what is nested deeply."""
