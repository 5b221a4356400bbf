"""Many hosts: what they agree on, where that is kept, and what follows for this host's kernel.

A *directory* (etcd, or the Kubernetes API) holds hosts, overlay networks and blocks of their addresses. Nothing here
elects, gossips or replicates, and no pod costs a write to the directory.
"""
