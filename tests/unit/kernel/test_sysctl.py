"""Keys of sysctls: no text leads out of /proc/sys/net."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import KernelError
from cni_cnm.kernel import sysctl
from tests.link_names import link_names

parts = st.sampled_from(["net", "ipv4", "conf", "..", ".", "", "all", "a.b", "kernel"]) | link_names()


@given(st.lists(parts, max_size=5).map("/".join) | st.text(max_size=20))
def test_any_key(key: str) -> None:
    """A path below the folder, or a refusal."""
    with suppress(KernelError):
        path = sysctl._path(key)
        assert path == os.path.normpath(path)
        assert path.startswith("/proc/sys/net/")
        assert "\0" not in path


@given(link_names())
def test_any_link(name: str) -> None:
    """The kernel has a folder for each link, by its name: dots in it are no separators."""
    assert sysctl._path(f"net/ipv4/conf/{name}/forwarding") == f"/proc/sys/net/ipv4/conf/{name}/forwarding"


@pytest.mark.parametrize(
    "key", ["net", "net/", "kernel/hostname", "net/../kernel/hostname", "/net/ipv4", "net//a", "net/a\0b", "net/./a"]
)
def test_refused(key: str) -> None:
    """With an example of what a key looks like."""
    with pytest.raises(KernelError, match="is not a sysctl of the network") as refused:
        sysctl.write_differing([(key, "1")], tolerate=True)
    assert "net/ipv4/ip_forward" in refused.value.hint


def test_open_folders() -> None:
    """A key is the same by its folder and by its path; one of a folder that is not open, too."""
    folders = sysctl.open_folders()
    try:
        for key in ("net/ipv4/ip_forward", "net/ipv4/conf/lo/arp_notify", "net/core/somaxconn", "net/ipv4/never"):
            assert sysctl.read(key, folders) == sysctl.read(key), key
        assert sysctl.read("net/ipv4/ip_forward", {"ipv4": folders["ipv4"]}) is not None
    finally:
        for descriptor in folders.values():
            os.close(descriptor)
