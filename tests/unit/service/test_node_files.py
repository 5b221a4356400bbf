"""What a service in a container does not answer: the full program on the node does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni_cnm.service import node_files

NET = {"cniVersion": "1.0.0", "name": "net", "type": "cni-cnm"}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({}, ""),
        ({"driver": "overlay"}, ""),
        ({"driver": "ptp", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}, ""),
        ({"ipam": {"type": "static", "addresses": []}}, ""),
        ({"ipam": {"type": "whereabouts"}}, "ipam.type"),
        ({"IPAM": {"Type": "dhcp"}}, "ipam.type"),
        ({"driver": "weave"}, "driver"),
        ({"ipam": {"type": "host-local", "dataDir": "/srv/leases"}}, "ipam.datadir"),
        ({"ipam": {"type": "host-local", "resolvConf": "/etc/resolv.conf"}}, "ipam.resolvconf"),
        ({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}, "sysctl"),
        ({"ipam": 5, "driver": {}, "sysctl": {}}, "driver"),
    ],
)
def test_keys(more: dict[str, Any], key: str) -> None:
    """Names of plugins, and keys that name files, in any spelling of their letters."""
    assert node_files.needed({}, json.dumps({**NET, **more}).encode()) == key


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"5", b"null", b"[" * 100_000, b"\xff"])
def test_what_is_no_configuration(text: bytes) -> None:
    """The answer to it is an error, by the service or by the full program."""
    assert node_files.needed({}, text) == ""


def test_settings_that_the_caller_names() -> None:
    """They are on the node."""
    assert node_files.needed({"CNI_CNM_CONFIG": "/srv/config.toml"}, json.dumps(NET).encode()) == "CNI_CNM_CONFIG"


def test_only_in_a_container() -> None:
    """A unit of systemd has the files of the host."""
    assert not node_files.in_container({})
    assert node_files.in_container({"CNI_CNM_PROC_SYS_NET": "/host/proc/sys/net"})
