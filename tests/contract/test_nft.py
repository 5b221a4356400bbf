"""The promises of `Nft`, kept alike by the kernel (library and executable) and by the memory."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_cnm.errors import CnmError, KernelError, KernelFeatureMissing
from cni_cnm.firewall import comment
from cni_cnm.kernel import Counter, Element, ElementTaken, Nft, Rule, Transaction, link_key, link_name, merge
from cni_cnm.kernel.netlink import header
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.libnftables import Binary, Library, failure
from tests.kernel.lab import Namespace, missing
from tests.link_names import link_names
from tests.memory_kernel.nft import MemoryNft

TABLE = "inet cni_cnm"
DECLARE = f"""\
add table {TABLE}
add map {TABLE} m {{ type ipv4_addr : verdict; }}
add map {TABLE} m6 {{ type ipv6_addr : verdict; }}
add set {TABLE} s {{ type ifname . ether_addr; }}
add map {TABLE} ranges {{ type inet_proto . inet_service : ipv4_addr; flags interval; }}
add map {TABLE} p {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
add chain {TABLE} a
add chain {TABLE} b
"""
ONE = Element(TABLE, "m", "10.0.0.5", "goto a", "who")
SIX = Element(TABLE, "m6", "fd00::5", "goto a", "who, else } ?")
MEMBER = Element(TABLE, "s", '"veth1" . 02:00:00:00:00:01', comment="a b/c")
PORT = Element(TABLE, "p", "6 . 8080", "10.0.0.5 . 80", "who")


@pytest.fixture(params=["memory", "library", "binary"])
def nft(request: pytest.FixtureRequest) -> Iterator[Nft]:
    if request.param == "memory":
        yield MemoryNft()
        return
    if os.geteuid():
        pytest.skip("network namespaces need root")
    namespace = Namespace()
    kernel = KernelNft(namespace.fd)
    try:
        kernel._runner = Library() if request.param == "library" else Binary()
    except OSError:
        pytest.skip("this host has no libnftables")
    yield kernel
    namespace.close()


def test_require_changes_nothing(nft: Nft) -> None:
    """Rules can be made here, with and without a table of ours."""
    nft.require()
    assert nft.tables() == {}
    nft.commit(Transaction(DECLARE, (ONE,)))
    nft.require()
    assert missing(nft, [ONE]) == []


def test_require_without_nf_tables(nft: Nft, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel answers for a subsystem that no kernel has as it does for one that it was built without."""
    if isinstance(nft, MemoryNft):
        pytest.skip("rules can always be made there")
    monkeypatch.setattr(nfnetlink, "_SUBSYSTEM", 0x7F00)
    with pytest.raises(KernelFeatureMissing, match="no nf_tables") as caught:
        nft.require()
    assert "CONFIG_NF_TABLES" in caught.value.hint


def test_put_declares_what_is_missing(nft: Nft) -> None:
    """The first put makes table, sets and chains; all kinds of elements are then there."""
    elements = (ONE, SIX, MEMBER, PORT)
    assert missing(nft, elements) == list(elements)
    nft.commit(Transaction(DECLARE, elements))
    assert missing(nft, elements) == []


def test_put_without_declaration_fails_whole(nft: Nft) -> None:
    """What is missing and not declared is ENOENT, and no other element of the transaction is put."""
    nft.commit(Transaction(DECLARE, (MEMBER,)))
    other = ONE._replace(key="10.0.0.6")
    with pytest.raises(KernelError) as caught:
        nft.commit(Transaction("", (other, ONE._replace(value="goto nowhere"))))
    assert caught.value.errno == errno.ENOENT
    assert missing(nft, [other]) == [other]


def test_new_chain_is_declared_in_old_table(nft: Nft) -> None:
    """A second subnet needs its chain only; the put brings it."""
    nft.commit(Transaction(DECLARE, (ONE,)))
    nft.commit(Transaction(DECLARE + f"add chain {TABLE} c\n", (SIX._replace(value="goto c"),)))
    assert missing(nft, [ONE, SIX._replace(value="goto c")]) == []


def test_put_replaces(nft: Nft) -> None:
    """The same key again is replaced: same value, another comment, another value."""
    for element in (ONE, ONE, ONE._replace(comment="another"), ONE._replace(value="goto b"), PORT, PORT):
        nft.commit(Transaction(DECLARE, (element,)))
        assert missing(nft, [element]) == []
    assert missing(nft, [ONE]) == [ONE]


def test_counters(nft: Nft) -> None:
    """They begin at 0, are declared again without effect, and go with their table. An absent table has none."""
    counters = f"add counter {TABLE} one\nadd counter {TABLE} other\n"
    assert nft.counters([TABLE]) == []
    for _ in range(2):
        nft.commit(Transaction(DECLARE + counters, (ONE,)), declare=True)
    assert set(nft.counters([TABLE, "bridge none"])) == {Counter(TABLE, name, 0, 0) for name in ("one", "other")}
    nft.delete_table(TABLE)
    assert nft.counters([TABLE]) == []


def test_intervals(nft: Nft) -> None:
    """A range is one element: put, replaced and removed by its bounds."""
    some = Element(TABLE, "ranges", "6 . 8000-8100", "10.0.0.5", "who")
    for element in (some, some, some._replace(comment="another"), some._replace(value="10.0.0.6")):
        nft.commit(Transaction(DECLARE, (element,)))
        assert nft.elements(TABLE, "ranges") == [element]
    nft.commit(Transaction(remove=(some,)))
    assert nft.elements(TABLE, "ranges") == []


def test_remove_tolerates_missing(nft: Nft) -> None:
    """No table, no set, no element: done. Present ones beside missing ones go."""
    gone = ONE._replace(key="10.0.0.99")
    nft.commit(Transaction(remove=(ONE, MEMBER)))
    nft.commit(Transaction(DECLARE, (ONE, SIX, MEMBER)))
    nft.commit(Transaction(remove=(gone, ONE, SIX, ONE._replace(set="never"))))
    assert missing(nft, [ONE, SIX, MEMBER]) == [ONE, SIX]
    nft.commit(Transaction(remove=(ONE, SIX)))


def test_remove_is_by_key(nft: Nft) -> None:
    """Value and comment of what is removed do not count."""
    nft.commit(Transaction(DECLARE, (ONE, PORT)))
    nft.commit(Transaction(remove=(ONE._replace(value="goto b"), PORT._replace(value="1.2.3.4 . 1", comment="x"))))
    assert missing(nft, [ONE, PORT]) == [ONE, PORT]


def test_put_and_remove_together(nft: Nft) -> None:
    """Removal comes first, so a key in both is put; a missing one keeps no put from being declared."""
    nft.commit(Transaction(DECLARE, (ONE,), (MEMBER, ONE)))
    nft.commit(Transaction(DECLARE, (ONE._replace(value="goto b"), MEMBER), (ONE, SIX)))
    assert missing(nft, [ONE._replace(value="goto b"), MEMBER]) == []


def test_claim(nft: Nft) -> None:
    """A claim takes what is free or already its owner's; another owner's stays, and nothing else is done."""
    mine, theirs = ONE._replace(comment="aaa me"), ONE._replace(comment="bbb them", value="goto b")
    nft.commit(Transaction(DECLARE, claim=(mine, PORT)))
    nft.commit(Transaction(DECLARE, claim=(mine._replace(comment="aaa renamed", value="goto b"),)))
    assert nft.elements(TABLE, "m") == [mine._replace(comment="aaa renamed", value="goto b")]
    with pytest.raises(ElementTaken) as caught:
        nft.commit(Transaction(DECLARE, (SIX,), claim=(theirs,)))
    assert [holder.owner for holder in caught.value.holders] == ["aaa"]
    assert missing(nft, [SIX]) == [SIX]
    nft.commit(Transaction(DECLARE, claim=(theirs,), remove=(mine,)))
    assert nft.elements(TABLE, "m") == [theirs]


def test_release_is_by_owner(nft: Nft) -> None:
    """What another owner has put in place meanwhile stays; no error if one is absent."""
    nft.commit(Transaction(release=(ONE,)))
    theirs = ONE._replace(value="goto b", comment="new owner")
    nft.commit(Transaction(DECLARE, (theirs, PORT)))
    nft.commit(Transaction(release=(ONE, PORT, SIX)))
    assert nft.elements(TABLE) == [theirs]
    nft.commit(Transaction(release=(theirs, PORT)))
    nft.commit(Transaction(release=(PORT,)))
    assert nft.elements(TABLE) == []


def test_elements(nft: Nft) -> None:
    """Keys, values and comments as they were put; of one set, of the table, of what does not exist."""
    assert nft.elements(TABLE) == nft.elements(TABLE, "m") == []
    nft.commit(merge(Transaction(DECLARE, (ONE, SIX)), Transaction(DECLARE, (MEMBER,), claim=(PORT,))))
    assert nft.elements(TABLE, "m6") == [SIX]
    assert nft.elements(TABLE, "never") == []
    assert set(nft.elements(TABLE)) == {ONE, SIX, PORT, MEMBER}


def test_any_label(nft: Nft) -> None:
    """The comment of an element is what `comment` makes of a text, and comes back as it was put."""

    @settings(max_examples=50)
    @given(labels=st.lists(st.text() | st.text("\"'\\\n\t,{}:$*;# ", max_size=200), min_size=1, max_size=10))
    def check(labels: list[str]) -> None:
        put = tuple(
            ONE._replace(key=f"10.0.1.{number}", comment=comment("id", label)) for number, label in enumerate(labels)
        )
        assert max(len(element.comment.encode()) for element in put) <= 128
        nft.commit(Transaction(DECLARE, put))
        assert set(nft.elements(TABLE, "m")) == set(put)
        assert nft.find(put) == list(put)
        nft.commit(Transaction(remove=put))

    check()


def test_find(nft: Nft) -> None:
    """Of each key what is there, with its own value and comment; another key, set or table holds nothing."""
    some = Element(TABLE, "ranges", "6 . 8000-8100", "10.0.0.5", "who, {else}")
    there = (ONE, SIX, MEMBER, PORT, some)
    assert nft.find([]) == []
    assert nft.find(there) == [None] * 5
    nft.commit(Transaction(DECLARE, there))
    assert nft.find(there) == list(there)
    asked = [element._replace(value="", comment="") for element in there]
    assert nft.find(asked[::-1]) == list(there[::-1])
    for key in ("6 . 8000-8099", "6 . 8001-8100", "6 . 8000", "6 . 8101-8102", "17 . 8000-8100"):
        assert nft.find([some._replace(key=key)]) == [None], key
    others = [
        ONE._replace(key="10.0.0.6"), ONE._replace(key="fd00::5"), ONE._replace(key="10.0.0.5 . 80"),
        ONE._replace(set="never"), ONE._replace(table="ip never"), SIX._replace(key="fd00::6"),
        MEMBER._replace(key='"veth1" . 02:00:00:00:00:02'), MEMBER._replace(key='"veth2" . 02:00:00:00:00:01'),
        PORT._replace(key="17 . 8080"), PORT._replace(key="6 . 8081"), PORT._replace(key="6 . 80800"),
    ]  # fmt: skip
    assert nft.find(others) == [None] * len(others)
    assert nft.find([others[0], ONE, others[1], SIX]) == [None, ONE, None, SIX]


def test_find_as_listed(nft: Nft) -> None:
    """An element that is asked for comes as `elements` lists it, also without a comment or with a plain verdict."""
    put = (
        ONE._replace(comment=""), ONE._replace(key="10.0.0.6", value="accept"), SIX._replace(key="::", value="drop"),
        ONE._replace(key="255.255.255.255", value="return"), SIX._replace(key="fd00:1:0:1::", comment="ä" * 60),
        MEMBER._replace(key='"a23456789012345" . ff:ff:ff:ff:ff:ff'), PORT._replace(key="132 . 65535"),
        SIX._replace(key="::ffff:10.0.0.1", value="jump b"),
    )  # fmt: skip
    nft.commit(Transaction(DECLARE, put))
    listed = {(element.set, element.key): element for element in nft.elements(TABLE)}
    found = [element for element in nft.find(put) if element]
    assert found == [listed[element.set, element.key] for element in put]


def test_every_name_that_the_kernel_takes(nft: Nft) -> None:
    """Keys with any link name are put, listed, found and removed, also those that nft has no text for."""

    @settings(max_examples=50)
    @given(names=st.sets(link_names(), min_size=1, max_size=20))
    def check(names: set[str]) -> None:
        keys = {name: f"{link_key(name)} . 02:00:00:00:00:01" for name in names}
        put = tuple(Element(TABLE, "s", key, comment=comment("id", name)) for name, key in keys.items())
        nft.commit(Transaction(DECLARE, put))
        nft.commit(Transaction(DECLARE, put), declare=True)
        assert set(nft.elements(TABLE, "s")) == set(put)
        assert nft.find(put) == list(put)
        assert {link_name(key.partition(" . ")[0]) for key in keys.values()} == set(keys)
        nft.commit(Transaction(remove=put))
        assert nft.elements(TABLE, "s") == []
        nft.commit(Transaction(DECLARE, remove=put), declare=True)
        nft.commit(Transaction(remove=put))

    check()


def test_find_lists_nothing(nft: Nft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among thousands of elements the kernel is asked for those alone: a message a set, and one an element."""
    if isinstance(nft, MemoryNft):
        pytest.skip("the memory has no messages to count")
    many = [PORT._replace(key=f"6 . {1 + i}", comment=f"pod {i}") for i in range(5000)]
    ranges = [Element(TABLE, "ranges", f"17 . {10 * i}-{10 * i + 5}", "10.0.0.5", "who") for i in range(1, 3000)]
    nft.commit(Transaction(DECLARE, (ONE, *many, *ranges)))
    asked = [*many[::100], many[0]._replace(key="6 . 6000"), *ranges[::100], ONE]
    heard = 0

    def count(*arguments: Any) -> Iterator[Any]:
        nonlocal heard
        for message in header.messages(*arguments):
            heard += 1
            yield message

    monkeypatch.setattr(nfnetlink, "messages", count)
    monkeypatch.setattr(nft, "_runner", None)
    monkeypatch.setattr("cni_cnm.kernel.nftables.libnftables.runner", lambda: pytest.fail("nft was asked"))
    assert missing(nft, asked) == [many[0]._replace(key="6 . 6000")]
    assert heard == 3 + len(asked)


def test_rules_by_comment(nft: Nft) -> None:
    """Rules of other programs' tables are found by a word of their comments, and removed with their chains."""
    tables = ("ip theirs", "bridge theirs", "ip6 never")
    rules = [
        Rule("ip theirs", "a", 0, "one: pod-1"), Rule("ip theirs", "a", 0, "pod-2"), Rule("ip theirs", "b", 0, ""),
        Rule("ip theirs", "b", 0, "pod-1"), Rule("bridge theirs", "a", 0, "pod-1"), Rule("ip other", "a", 0, "pod-1"),
    ]  # fmt: skip
    assert nft.commented(tables, ["pod"]) == []
    if isinstance(nft, MemoryNft):
        nft.others += [rule._replace(handle=number) for number, rule in enumerate(rules)]
    else:
        assert isinstance(nft, KernelNft)
        places = dict.fromkeys((rule.table, rule.chain) for rule in rules)
        script = [f"add table {table}; add chain {table} {chain}" for table, chain in places]
        for rule in rules:
            comment = f'comment "{rule.comment}"' if rule.comment else ""
            script.append(f"add rule {rule.table} {rule.chain} counter {comment}")
        nft._run(script)
    found = nft.commented(tables, ["pod-1", "pod-7"])
    assert [rule[:2] + rule[3:4] for rule in found] == [
        ("ip theirs", "a", "one: pod-1"), ("ip theirs", "b", "pod-1"), ("bridge theirs", "a", "pod-1"),
    ]  # fmt: skip
    nft.remove_rules(found[:1])
    nft.remove_rules(found, ["bridge theirs a"])
    nft.remove_rules(found, ["bridge theirs a"])
    assert [rule.comment for rule in nft.commented(tables, ["pod"])] == ["pod-2"]
    assert [rule.comment for rule in nft.commented(("ip other",), ["pod"])] == ["pod-1"]
    assert nft.handles(["bridge theirs a"]) == [None]


def test_many_elements(nft: Nft) -> None:
    """A thousand elements are one transaction, and found, replaced and removed alike."""
    many = [ONE._replace(key=f"10.1.{i // 250}.{i % 250}", comment=f"pod {i}") for i in range(1000)]
    nft.commit(Transaction(DECLARE, tuple(many[:-1])))
    assert missing(nft, many) == [many[-1]]
    nft.commit(Transaction(DECLARE, tuple(e._replace(value="goto b") for e in many)))
    assert missing(nft, many[::100]) == many[::100]
    nft.commit(Transaction(remove=tuple(many)))
    assert len(missing(nft, many)) == 1000


def test_declare_in_any_case(nft: Nft) -> None:
    """Asked to, a commit runs the declaration though nothing is missing, also with nothing to put."""
    nft.commit(Transaction(DECLARE, (ONE,)))
    more = f"add set {TABLE} late {{ type ipv4_addr; }}\n"
    nft.commit(Transaction(DECLARE + more, (ONE,)), declare=True)
    nft.commit(Transaction("", (ONE._replace(set="late", value=""),)))
    nft.commit(Transaction(more.replace("late", "later")), declare=True)
    nft.commit(Transaction("", (ONE._replace(set="later", value=""),)))
    nft.commit(Transaction(DECLARE, (ONE._replace(value="goto b"),)), declare=True)
    assert missing(nft, [ONE._replace(value="goto b")]) == []


def test_delete_table(nft: Nft) -> None:
    """A table goes with all it has; a missing one is done; the next put brings it back."""
    nft.delete_table(TABLE)
    nft.commit(Transaction(DECLARE, (ONE,)))
    nft.delete_table(TABLE)
    assert missing(nft, [ONE]) == [ONE]
    nft.commit(Transaction(DECLARE, (ONE,)))
    assert missing(nft, [ONE]) == []


def test_removals_are_reported(nft: Nft) -> None:
    """A wait ends with the removal of an element of that owner, also one that came before the wait."""
    nft.commit(Transaction(DECLARE, (ONE, MEMBER)))
    with nft.removals((TABLE,)) as removals:
        nft.commit(Transaction(remove=(MEMBER,)))
        removals.wait(MEMBER.owner, 60)
        removals.wait("who", 0)
        assert missing(nft, (ONE,)) == []
        remover = threading.Thread(target=lambda: nft.commit(Transaction(remove=(ONE,))))
        remover.start()
        removals.wait("who", 60)
        assert missing(nft, (ONE,)) == [ONE]
        remover.join()


def test_networks_as_keys(nft: Nft) -> None:
    """A pair of networks is found by both, and not by networks that it holds or that hold it."""
    pairs = [
        Element(TABLE, "n4", f"{one} . {other}", comment="a net")
        for one, other in (("10.0.0.0/16", "10.8.0.0/13"), ("10.1.0.0/16", "0.0.0.0/0"), ("10.2.0.0/16", "10.9.9.9"))
    ]
    pairs.append(Element(TABLE, "n6", "fd00:1::/64 . fd00:2::/33", comment="a net"))
    declare = DECLARE + "".join(
        f"add set {TABLE} n{version} {{ type {kind} . {kind}; flags interval; }}\n"
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr"))
    )
    nft.commit(Transaction(declare, tuple(pairs)))
    nft.commit(Transaction(declare, tuple(pairs)))
    assert nft.find(pairs) == pairs
    assert sorted([*nft.elements(TABLE, "n4"), *nft.elements(TABLE, "n6")]) == sorted(pairs)
    for key in ("10.0.0.0/16 . 10.8.0.0/14", "10.0.0.0/15 . 10.8.0.0/13", "10.0.0.0/16 . 10.8.0.1"):
        assert nft.find([pairs[0]._replace(key=key)]) == [None]
    nft.commit(Transaction(remove=tuple(pairs)))
    assert missing(nft, pairs) == pairs


def test_threads(nft: Nft) -> None:
    """Many threads put, look and remove at once, one of them declaring; no thread loses an element."""
    errors: list[CnmError] = []

    def work(number: int) -> None:
        mine = [ONE._replace(key=f"10.{number}.0.{i}", comment=str(number)) for i in range(5)]
        try:
            for element in mine:
                nft.commit(Transaction(DECLARE, (element,), (SIX,)))
            assert missing(nft, mine) == []
            nft.commit(Transaction(remove=tuple(mine[1:])))
        except CnmError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    kept = [ONE._replace(key=f"10.{number}.0.0") for number in range(12)]
    assert missing(nft, kept) == []
    assert len(missing(nft, [e._replace(key=e.key[:-1] + "1") for e in kept])) == 12


def test_commit_leaves_namespace_alone() -> None:
    """With a descriptor of another namespace, the thread is back afterwards, also after a failure."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    namespace = Namespace()
    before = os.readlink("/proc/thread-self/ns/net")
    kernel = KernelNft(namespace.fd)
    kernel.commit(Transaction(DECLARE, (ONE,)))
    with pytest.raises(KernelError):
        kernel.commit(Transaction("", (ONE._replace(set="nothing"),)))
    assert os.readlink("/proc/thread-self/ns/net") == before
    assert "10.0.0.5" in namespace.run("nft", "list", "map", *TABLE.split(), "m")
    namespace.close()


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("Error: Could not process rule: File exists\nadd element…\n^^^^", errno.EEXIST),
        ("/dev/stdin:1:1-3: Error: No such file or directory; did you mean set a?\n", errno.ENOENT),
        ("Error: Could not process rule: Operation not supported\n", errno.EOPNOTSUPP),
        ("netlink: Error: Could not process rule: Operation not permitted\n", errno.EPERM),
        ("Error: syntax error, unexpected newline\n", errno.EINVAL),
        ("", errno.EINVAL),
    ],
)
def test_errno_of_nft_words(words: str, number: int) -> None:
    """nft prints the kernel's errno as text; we give the number back, and one sentence with the cause."""
    error = failure(words)
    assert isinstance(error, KernelError)
    assert error.errno == number
    assert "\n" not in error.msg
