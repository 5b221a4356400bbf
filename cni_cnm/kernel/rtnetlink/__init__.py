"""rtnetlink(7): links, addresses, routes and traffic control of one network namespace."""
