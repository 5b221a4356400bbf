"""A picture of this host's networks, for a ticket: hosts, networks, bridges, sandboxes, addresses, ports, open pairs.

scene     what is there, from the records and the kernel
layout    where it stands in the picture: nodes and edges, the same for every format
cells     the size of the parts of a network, for few endpoints and for many
svg       the picture as SVG
dot       the same nodes and edges for graphviz
"""
