"""What there is on this host, as an operator asks for it. It only reads.

endpoint_names.py     the pod's or container's name of an endpoint, also of Docker's containers
endpoints.py          endpoints by pod, container, address, published port, link, MAC or id
networks.py           networks by the names that Docker has for them, too
sandboxes.py          network namespaces, and whether they are still there
addresses.py          how full subnets are, and who holds each address
pools.py              how many endpoints the ranges of a network are still enough for
published_ports.py    published ports, and whether the packet filter has them
"""
