"""Tests of what the hosts of a cluster agree on."""
