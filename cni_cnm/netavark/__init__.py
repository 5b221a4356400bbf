"""The netavark frontend: the plugin API of podman's network program. A verb as argument, JSON on stdin and on stdout.

messages           what netavark sends: a network, and a container on it
network_options    the options of a network, as keys and labels of the bridge driver
network_spec       a network as a NetworkSpec
endpoint_spec      a container as an EndpointSpec
configured         networks that podman has on file: their subnets and bridges are taken
complete           create: the subnets and gateways that a network lacks
given_addresses    which of podman's containers has an address
attach             setup and teardown
status_block       the result of setup
plugin             the verbs, each with its checks and its answer
process            one call as a process

API version 1.0.0 (plugin-API.md of netavark 2). An error is `{"error": "…"}` on stdout with exit code 1.
"""

from __future__ import annotations

OWNER = "netavark"
"""Of endpoints, and of networks that are deleted with their last endpoint: the API has no call for that."""
API_VERSION = "1.0.0"
