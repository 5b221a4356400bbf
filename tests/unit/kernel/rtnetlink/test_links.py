"""Links on other links as bytes: what a kernel without them cannot show is held against its headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cni_cnm.kernel.netlink.messages import ifinfmsg
from cni_cnm.kernel.rtnetlink import links

HEADER = Path("/usr/include/linux/if_link.h")


def enum(name: str) -> list[str]:
    """The members of an enum of the kernel's header that begins with this one, in order."""
    if not HEADER.exists():
        pytest.skip(f"{HEADER} is not installed (linux-libc-dev)")
    body = re.search(rf"enum \w* ?{{\s*{name}[ ,=].*?}}", HEADER.read_text(), re.DOTALL)
    assert body is not None
    return re.findall(r"^\s*(\w+)", body[0], re.MULTILINE)[1:]


@pytest.mark.parametrize("mode", links.IPVLAN_MODES)
@pytest.mark.parametrize("flag", links.IPVLAN_FLAGS)
def test_ipvlan_reads_back(mode: str, flag: str) -> None:
    """A request's mode and flag are what a link of these attributes shows."""
    request = links.on_parent("ipvlan", links.ipvlan(mode, flag), "iv0", 7, namespace=3)
    request.encode()
    found = links.read(bytes(request.data), 0)
    assert (found.kind, found.name, found.peer, found.mode, found.flag) == ("ipvlan", "iv0", 7, mode, flag)


@pytest.mark.parametrize("mode", links.MACVLAN_MODES)
def test_macvlan_reads_back(mode: str) -> None:
    """The same for a macvlan, with a queue's length beside the mode."""
    request = links.on_parent("macvlan", links.macvlan(mode, 500), "mv0", 7, mac="02:00:00:00:00:01", mtu=1400)
    request.encode()
    found = links.read(bytes(request.data), 0)
    assert (found.kind, found.mode, found.mac, found.mtu) == ("macvlan", mode, "02:00:00:00:00:01", 1400)


def test_numbers_are_the_kernel_s() -> None:
    """Modes and attribute numbers as the header counts them."""
    assert [f"IPVLAN_MODE_{mode.upper()}" for mode in links.IPVLAN_MODES] == enum("IPVLAN_MODE_L2")[:3]
    data = ifinfmsg.ifinfo.data_map
    for kind, first in (
        ("macvlan", "IFLA_MACVLAN_UNSPEC"),
        ("ipvlan", "IFLA_IPVLAN_UNSPEC"),
        ("vlan", "IFLA_VLAN_UNSPEC"),
    ):
        names = [entry[0] for entry in data[kind].nla_map]
        assert enum(first)[: len(names)] == names, kind
    text = HEADER.read_text()
    for mode, number in links.MACVLAN_MODES.items():
        assert re.search(rf"MACVLAN_MODE_{mode.upper()}\s*=\s*{number},", text)
    for flag in ("private", "vepa"):
        assert re.search(rf"IPVLAN_F_{flag.upper()}\s+0x0{links.IPVLAN_FLAGS[flag]}\b", text)
