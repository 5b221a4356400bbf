"""Whether host-local has leased a container's addresses to it."""

from __future__ import annotations

from pathlib import Path

from cni_cnm.model import EndpointKey, ip_address
from cni_cnm.reference import leases
from cni_cnm.reference.configuration import Bridge

KEY = EndpointKey("net", "c1", "eth0")
ADDRESS = ip_address("10.0.0.2")


def test_leases(tmp_path: Path) -> None:
    """Of the container's interface, or of the container alone, as old files have it."""
    bridge = Bridge(ipam="host-local", data_dir=str(tmp_path))
    place = tmp_path / "net" / "10.0.0.2"
    place.parent.mkdir()
    assert "No such file" in leases.missing(KEY, bridge, [ADDRESS])[0]
    for content in ("c1\r\neth0", "c1\n"):
        place.write_bytes(content.encode())
        assert leases.missing(KEY, bridge, [ADDRESS]) == []
    for content, owner in (("c1\r\neth1", "c1 eth1"), ("", "no container")):
        place.write_bytes(content.encode())
        assert leases.missing(KEY, bridge, [ADDRESS]) == [f"the lease {place} is of {owner}"]


def test_an_interface_without_addresses(tmp_path: Path) -> None:
    assert leases.missing(KEY, Bridge(data_dir=str(tmp_path)), [ADDRESS]) == []
