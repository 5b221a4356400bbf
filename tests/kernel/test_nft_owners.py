"""Elements by the owners in their comments: of sets and maps of every kind that ours are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface

import pytest

from cni_cnm.firewall import INET, TABLES, isolation, masquerade, portmap, spoof
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.kernel import Transaction, merge
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables import nft_owners
from cni_cnm.kernel.nftables.nfnetlink import Questions
from tests.kernel.lab import Lab

ADDRESSES = (ip_interface("10.88.0.5/16"), ip_interface("fd00:88::5/64"))
OTHER_ADDRESSES = (ip_interface("10.88.0.6/16"), ip_interface("fd00:88::6/64"))


def put(nft: KernelNft, owner: str, addresses: tuple[object, ...], port: int) -> None:
    """An element in each of our sets and maps."""
    mappings = parse_mappings(
        [
            {"hostPort": port, "containerPort": 80},
            {"hostPort": port + 100, "containerPort": port + 100, "range": 50},
            {"hostPort": port, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
        ]
    )
    mac = f"02:00:00:00:{port // 256:02x}:{port % 256:02x}"
    nft.commit(
        merge(
            masquerade.add(owner, "l", addresses),  # type: ignore[arg-type]
            portmap.publish(owner, "l", addresses, mappings),  # type: ignore[arg-type]
            isolation.add_network(owner, "n", f"br{port}", isolation.SAME_BRIDGE, published_only=(4, 6)),
            isolation.add_network(owner, "n", port, isolation.ISOLATED, internal=True),
            isolation.add_endpoint(owner, "l", f"veth{port}", mac),
            spoof.add(owner, "l", f"veth{port}", mac),
        )
    )


@pytest.fixture
def nft(lab: Lab) -> KernelNft:
    return KernelNft(lab.host.fd)


def test_all_that_an_owner_has_goes(nft: KernelNft) -> None:
    """And what others have stays, in sets, maps, concatenations and ranges alike."""
    put(nft, "b" * 12, OTHER_ADDRESSES, 9000)
    before = [nft.elements(table) for table in TABLES]
    put(nft, "a" * 12, ADDRESSES, 8000)
    assert nft.owners(TABLES) == {"a" * 12, "b" * 12}
    removed = nft.remove_owned(TABLES, {"a" * 12})
    assert len(removed) == sum(len(nft.elements(table)) for table in TABLES)
    assert {comment.split()[0] for comment in removed} == {"a" * 12}
    assert [nft.elements(table) for table in TABLES] == before
    assert nft.remove_owned(TABLES, {"a" * 12}) == []


def test_tables_that_are_missing_have_none(nft: KernelNft) -> None:
    """As on a host before its first pod."""
    assert nft.owners(TABLES) == set()
    assert nft.remove_owned(TABLES, {"a" * 12}) == []


def test_an_element_that_changed_hands_stays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the removal an address was given to another endpoint: its element is not touched."""
    nft = KernelNft(lab.host.fd)
    nft.commit(masquerade.add("a" * 12, "l", ADDRESSES))
    ask = Questions.ask
    taken: list[bool] = []

    def meanwhile(self: Questions, questions: object) -> object:
        answers = ask(self, questions)  # type: ignore[arg-type]
        if any(kind == nft_owners._GET_ELEMENT for kind, _, _ in questions) and not taken:  # type: ignore[attr-defined]
            taken.append(True)
            nft.commit(masquerade.add("b" * 12, "l", ADDRESSES[:1]))
        return answers

    monkeypatch.setattr(Questions, "ask", meanwhile)
    removed = lab.host.call(lambda: nft_owners.remove(Questions(), TABLES, {"a" * 12}))
    assert taken
    assert removed == [f"{'a' * 12} l"]
    assert nft.owners(TABLES) == {"b" * 12}


def test_beside_pods_that_come_and_go(lab: Lab) -> None:
    """Many transactions a second by others do not keep it from ending."""
    nft, busy = KernelNft(lab.host.fd), KernelNft(lab.host.fd)
    for number in range(60):
        nft.commit(masquerade.add(f"{number:012x}", "l", (ip_interface(f"10.88.1.{number}/16"),)))
    stop: list[bool] = []
    added = masquerade.add("b" * 12, "l", ADDRESSES)

    def pods() -> int:
        count = 0
        while not stop:
            for change in (added, Transaction(remove=added.put)):
                busy.commit(change)
                count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(pods)
        try:
            removed = nft.remove_owned(TABLES, {f"{number:012x}" for number in range(60)})
        finally:
            stop.append(True)
    assert len(removed) == 60
    assert others.result() > 0
    assert not [element for element in nft.elements(INET) if element.owner != "b" * 12]
