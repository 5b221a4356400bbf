"""cni-cnm on the nodes of a Kubernetes cluster: with a stand-in for the API server, and what needs the real one."""
