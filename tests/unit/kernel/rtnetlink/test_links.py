"""Links on other links as bytes: what a kernel without them cannot show is held against its headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cni_cnm.kernel import Link
from cni_cnm.kernel.netlink.header import HEADER, RTM_NEWLINK
from cni_cnm.kernel.rtnetlink import links

IF_LINK = Path("/usr/include/linux/if_link.h")


def enum(name: str) -> list[str]:
    """The members of an enum of the kernel's header that begins with this one, in order."""
    if not IF_LINK.exists():
        pytest.skip(f"{IF_LINK} is not installed (linux-libc-dev)")
    body = re.search(rf"enum \w* ?{{\s*{name}[ ,=].*?}}", IF_LINK.read_text(), re.DOTALL)
    assert body is not None
    return re.findall(r"^\s*(\w+)", body[0], re.MULTILINE)[1:]


def link_of(body: bytes) -> Link:
    """What a link of these attributes shows."""
    return links.read(HEADER.pack(HEADER.size + len(body), RTM_NEWLINK, 0, 1, 0) + body, 0)


@pytest.mark.parametrize("mode", links.IPVLAN_MODES)
@pytest.mark.parametrize("flag", links.IPVLAN_FLAGS)
def test_ipvlan_reads_back(mode: str, flag: str) -> None:
    """A request's mode and flag are what a link of these attributes shows."""
    found = link_of(links.on_parent("ipvlan", links.ipvlan(mode, flag), "iv0", 7, namespace=3))
    assert (found.kind, found.name, found.peer, found.mode, found.flag) == ("ipvlan", "iv0", 7, mode, flag)


@pytest.mark.parametrize("mode", links.MACVLAN_MODES)
def test_macvlan_reads_back(mode: str) -> None:
    """The same for a macvlan, with a queue's length beside the mode."""
    data = links.macvlan(mode, 500)
    found = link_of(links.on_parent("macvlan", data, "mv0", 7, mac="02:00:00:00:00:01", mtu=1400))
    assert (found.kind, found.mode, found.mac, found.mtu) == ("macvlan", mode, "02:00:00:00:00:01", 1400)


def test_numbers_are_the_kernel_s() -> None:
    """Modes and attribute numbers as the header counts them."""
    assert [f"IPVLAN_MODE_{mode.upper()}" for mode in links.IPVLAN_MODES] == enum("IPVLAN_MODE_L2")[:3]
    numbers = {"IFLA_MACVLAN_MODE": links._MODE, "IFLA_IPVLAN_MODE": links._MODE, "IFLA_IPVLAN_FLAGS": links._FLAGS,
               "IFLA_VLAN_ID": links._VLAN_ID, "IFLA_BR_VLAN_FILTERING": links._VLAN_FILTERING,
               "IFLA_BRPORT_STATE": links._BRPORT_STATE,
               "IFLA_BRPORT_MODE": links._BRPORT_MODE, "IFLA_BRPORT_ISOLATED": links._BRPORT_ISOLATED,
               "IFLA_MACVLAN_BC_QUEUE_LEN": links._BC_QUEUE}  # fmt: skip
    for first in ("IFLA_MACVLAN_UNSPEC", "IFLA_IPVLAN_UNSPEC", "IFLA_VLAN_UNSPEC", "IFLA_BR_UNSPEC",
                  "IFLA_BRPORT_UNSPEC"):  # fmt: skip
        for number, name in enumerate(enum(first)):
            assert numbers.pop(name, number) == number, name
    assert not numbers
    text = IF_LINK.read_text()
    for mode, number in links.MACVLAN_MODES.items():
        assert re.search(rf"MACVLAN_MODE_{mode.upper()}\s*=\s*{number},", text)
    for flag in ("private", "vepa"):
        assert re.search(rf"IPVLAN_F_{flag.upper()}\s+0x0{links.IPVLAN_FLAGS[flag]}\b", text)
