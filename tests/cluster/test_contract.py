"""The contract of a directory whose blocks are claimed: in memory, over the model of etcd, and over real etcd.

What holds for every store is in test_contract_of_all.py.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import pytest

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.values import FIRST_VNI, Block, Change
from cni_cnm.errors import ActiveEndpoints, AddressesExhausted, Conflict, Forbidden, InvalidConfig, NoSuchNetwork
from cni_cnm.model import ip_network
from tests.cluster.examples import host, network
from tests.cluster.stores import TestStore


@pytest.fixture
def directory(store: TestStore) -> Directory:
    return store.directory()


A, B = host("a"), host("b")


# hosts ---------------------------------------------------------------------------------


def test_a_host_is_silent_when_its_lease_is_over_and_nothing_else_changes(
    store: TestStore, directory: Directory
) -> None:
    directory.announce(A)
    block = directory.claim(directory.create_network(network("web")), A)
    directory.show_life(A)
    assert directory.snapshot().alive == {"a"}
    store.expire("a")
    there = directory.snapshot()
    assert not there.alive
    assert (there.hosts, list(there.blocks.values())) == ({"a": A}, [block])
    directory.show_life(A)
    assert directory.snapshot().alive == {"a"}


def test_showing_life_again_writes_nothing(directory: Directory) -> None:
    directory.announce(A)
    first = directory.show_life(A)
    assert directory.show_life(A) == first == directory.snapshot().revision


def test_a_restarted_host_takes_its_life_over(store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    directory.show_life(A)
    later = store.directory()
    later.announce(A)
    later.show_life(A)
    assert later.snapshot().alive == {"a"}


def test_a_leaving_host_frees_its_blocks_and_only_its(store: TestStore, directory: Directory) -> None:
    web, mail = directory.create_network(network("web")), directory.create_network(network("mail", "10.33.0.0/16"))
    for each in (A, B):
        directory.announce(each)
        directory.show_life(each)
    mine = [directory.claim(web, A), directory.claim(mail, A), directory.claim(web, A)]
    other = directory.claim(web, B)
    freed = directory.leave("a", instance=A.instance)
    assert sorted(freed) == sorted(mine)
    there = directory.snapshot()
    assert there.alive == {"b"}
    assert (there.hosts, list(there.blocks.values())) == ({"b": B}, [other])


def test_a_host_that_shows_life_is_removed_only_by_itself_or_by_force(store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    directory.show_life(A)
    block = directory.claim(directory.create_network(network("web")), A)
    with pytest.raises(Forbidden):
        store.directory().leave("a")
    assert directory.snapshot().hosts == {"a": A}
    assert list(store.directory().leave("a", force=True)) == [block]
    assert directory.snapshot().hosts == {}


def test_a_silent_host_is_removed(store: TestStore, directory: Directory) -> None:
    directory.announce(A)
    directory.show_life(A)
    store.expire("a")
    assert list(directory.leave("a")) == []
    assert directory.snapshot().hosts == {}


# networks --------------------------------------------------------------------------------


def test_networks_get_the_lowest_free_vni(directory: Directory) -> None:
    first = directory.create_network(network("web", "10.32.0.0/16"))
    second = directory.create_network(network("mail", "10.33.0.0/16", "fd33::/48"))
    assert (first.vni, second.vni) == (FIRST_VNI, FIRST_VNI + 1)
    directory.delete_network("web")
    assert directory.create_network(network("db", "10.34.0.0/16")).vni == FIRST_VNI
    assert directory.snapshot().networks["mail"] == second


def test_a_network_that_is_there_is_given_also_with_another_id(store: TestStore, directory: Directory) -> None:
    made = directory.create_network(network("web"))
    before = directory.snapshot().revision
    assert store.directory().create_network(network("web")._replace(id="f" * 32)) == made
    assert directory.snapshot().revision == before


@pytest.mark.parametrize(
    "other",
    [
        network("web", "10.35.0.0/16"),
        network("web", sizes=(25,)),
        network("web", port=4800),
        network("web", direct="never"),
        network("web", "10.32.0.0/16", "fd32::/48"),
        network("web", vni=9),
    ],
)
def test_a_network_does_not_change(directory: Directory, other: object) -> None:
    made = directory.create_network(network("web"))
    with pytest.raises(Conflict, match="web"):
        directory.create_network(other)  # type: ignore[arg-type]
    assert directory.snapshot().networks == {"web": made}


@pytest.mark.parametrize(
    "other",
    [
        network("mail", "10.32.128.0/17"),
        network("mail", "10.0.0.0/8"),
        network("mail", "10.40.0.0/16", "fd32:0:0:1::/64", sizes=(24, 72)),
        network("mail", "10.40.0.0/16", vni=FIRST_VNI),
    ],
)
def test_networks_share_no_address_and_no_vni(directory: Directory, other: object) -> None:
    directory.create_network(network("web", "10.32.0.0/16", "fd32::/48"))
    with pytest.raises(Conflict, match="web"):
        directory.create_network(other)  # type: ignore[arg-type]
    assert set(directory.snapshot().networks) == {"web"}


def test_a_network_with_blocks_is_not_deleted_and_the_hosts_are_named(directory: Directory) -> None:
    web = directory.create_network(network("web"))
    for each in (A, B):
        directory.announce(each)
        directory.claim(web, each)
    with pytest.raises(ActiveEndpoints, match="a, b"):
        directory.delete_network("web")
    for block in directory.snapshot().blocks.values():
        directory.release(block)
    directory.delete_network("web")
    assert directory.snapshot().networks == {}
    directory.delete_network("web")


# blocks ------------------------------------------------------------------------------------


def test_blocks_have_a_part_of_each_subnet(directory: Directory) -> None:
    web = directory.create_network(network("web", "10.32.0.0/16", "fd32::/48"))
    directory.announce(A)
    block = directory.claim(web, A)
    four, six = block.subnets
    assert (four.prefixlen, six.prefixlen) == (24, 64)
    assert int(four.network_address) >> 8 & 0xFF == int(six.network_address) >> 64 & 0xFFFF
    assert directory.snapshot().blocks == {("web", four): block}
    assert (block.host, block.instance) == (A.name, A.instance)


def test_each_claim_is_another_block_until_none_is_free(directory: Directory) -> None:
    web = directory.create_network(network("web", "10.32.0.0/22"))
    for each in (A, B):
        directory.announce(each)
    claimed = {directory.claim(web, each).subnets for each in (A, B, A, B)}
    assert claimed == {(each,) for each in ip_network("10.32.0.0/22").subnets(new_prefix=24)}
    with pytest.raises(AddressesExhausted, match="web"):
        directory.claim(web, A)
    block = next(iter(directory.snapshot().blocks.values()))
    directory.release(block)
    assert directory.claim(web, A).subnets == block.subnets


def test_preferred_blocks_come_first_if_they_are_free_or_own(directory: Directory) -> None:
    web = directory.create_network(network("web"))
    for each in (A, B):
        directory.announce(each)
    wanted = (ip_network("10.32.77.0/24"),)
    assert directory.claim(web, A, [wanted]).subnets == wanted
    assert directory.claim(web, A, [wanted]).subnets == wanted
    other = directory.claim(web, B, [wanted, (ip_network("10.99.0.0/24"),), (ip_network("10.32.78.0/24"),)])
    assert other.subnets == (ip_network("10.32.78.0/24"),)


def test_a_claim_needs_the_network_itself(directory: Directory) -> None:
    directory.announce(A)
    web = directory.create_network(network("web"))
    with pytest.raises(NoSuchNetwork, match="web"):
        directory.claim(web._replace(id="f" * 32), A)
    directory.delete_network("web")
    with pytest.raises(NoSuchNetwork, match="web"):
        directory.claim(web, A)
    assert directory.snapshot().blocks == {}


def test_a_block_is_claimed_again_unless_it_is_another_hosts(directory: Directory) -> None:
    web = directory.create_network(network("web"))
    for each in (A, B):
        directory.announce(each)
    block = directory.claim(web, A)
    assert directory.claim_again(block)
    directory.release(block)
    assert directory.claim_again(block)
    assert directory.snapshot().blocks == {block.key: block}
    assert not directory.claim_again(block._replace(host="b", instance=B.instance))
    assert not directory.claim_again(block._replace(instance=B.instance))
    assert not directory.claim_again(block._replace(subnets=(ip_network("10.99.0.0/24"),)))
    directory.release(block)
    directory.delete_network("web")
    assert not directory.claim_again(block)


def test_only_the_owner_releases_a_block(directory: Directory) -> None:
    web = directory.create_network(network("web"))
    directory.announce(A)
    block = directory.claim(web, A)
    directory.release(block._replace(host="b", instance=B.instance))
    directory.release(block._replace(instance=B.instance))
    directory.release(block._replace(subnets=(ip_network("10.32.250.0/24"),)))
    assert directory.snapshot().blocks == {block.key: block}
    directory.release(block)
    directory.release(block)
    assert directory.snapshot().blocks == {}


def test_forty_hosts_that_join_at_once_have_forty_blocks(store: TestStore, directory: Directory) -> None:
    web = directory.create_network(network("web", "10.32.0.0/18"))
    hosts = [host(f"node{number}") for number in range(40)]
    claimed: list[Block] = []

    def join(number: int) -> None:
        own = store.directory()
        for each in hosts[number::8]:
            own.announce(each)
            claimed.append(own.claim(web, each))

    threads = [Thread(target=join, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({block.subnets for block in claimed}) == len(claimed) == 40
    assert directory.snapshot().blocks == {block.key: block for block in claimed}


# watching ------------------------------------------------------------------------------------


def watched(directory: Directory, do: Callable[[Directory], object], other: Directory) -> list[Change]:
    """The changes that `do`, with another directory, makes."""
    before = directory.snapshot().revision
    watch = directory.watch(before)
    do(other)
    end = other.snapshot().revision
    found: list[Change] = []
    for revision, changes in watch:
        found += changes
        if revision >= end:
            break
    return found


def test_changes_are_watched_in_order(store: TestStore, directory: Directory) -> None:
    other = store.directory()
    web = network("web", "10.32.0.0/16", "fd32::/48", vni=FIRST_VNI)
    blocks = []

    def happen(directory: Directory) -> None:
        directory.announce(A)
        directory.show_life(A)
        directory.create_network(web)
        blocks.append(directory.claim(web, A))
        directory.announce(A._replace(mac="02:00:00:00:00:07"))
        store.expire("a")
        directory.release(blocks[0])
        directory.delete_network("web")
        directory.leave("a")

    found = watched(directory, happen, other)
    assert found == [
        Change("host", "a", A),
        Change("alive", "a", True),
        Change("network", "web", web),
        Change("block", blocks[0].key, blocks[0]),
        Change("host", "a", A._replace(mac="02:00:00:00:00:07")),
        Change("alive", "a", None),
        Change("block", blocks[0].key, None),
        Change("network", "web", None),
        Change("host", "a", None),
    ]


def test_a_network_must_be_one_that_all_hosts_can_read(store: TestStore, directory: Directory) -> None:
    if type(store).__name__ == "InMemory":
        pytest.skip("it keeps values, not JSON")
    for wrong in (
        network("web", sizes=(31,)),
        network("web", sizes=(15,)),
        network("web", "224.0.0.0/8"),
        network("../web"),
        network("web", port=0),
    ):
        with pytest.raises(InvalidConfig):
            directory.create_network(wrong)
    assert directory.snapshot().networks == {}
