"""The scripts that KernelNft runs, and what it does with nft's answers. tests/contract runs them in the kernel."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Element, ElementTaken, Rule, Transaction
from cni_cnm.kernel.nft import KernelNft

TABLE = "inet cni_cnm"
DECLARE = f"add table {TABLE}\n"
NEW = Element(TABLE, "m", "10.0.0.5", "goto a", "pod new")
OTHER = Element(TABLE, "m", "10.0.0.6", "goto a", "pod new")
MEMBER = Element(TABLE, "s", '"veth1"', comment="pod new")


CHANGE = ["a change by netlink"]


class Scripted(KernelNft):
    """The kernel answers changes, and nft scripts, in order with `answers`, then with success. It holds `present`."""

    def __init__(self, *answers: KernelError | str, present: Sequence[Element] = ()) -> None:
        super().__init__()
        self.scripts: list[list[str]] = []
        self._answers = list(answers)
        self._present = {element.place: element for element in present}
        self._runner = self

    def _change(self, transaction: Transaction) -> bool:
        return self._answered(CHANGE) is not None

    def run(self, script: str) -> str:
        return self._answered([line for line in script.splitlines() if line])

    def _answered(self, asked: list[str]) -> str:
        self.scripts.append(asked)
        answer = self._answers.pop(0) if self._answers else ""
        if isinstance(answer, KernelError):
            raise answer
        return answer

    def _elements(self, table: str, name: str) -> list[Element] | None:
        return None

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        return [self._present.get(element.place) for element in elements]


def refused(number: int) -> KernelError:
    return KernelError("nftables refused the change", number)


def test_a_commit_is_one_change_or_one_script_that_reads_nothing() -> None:
    """Removals first; a release is added before it is deleted; a claim is created; a put is add, delete, add."""
    nft = Scripted()
    gone, released, claimed = (NEW._replace(key=f"10.0.0.{number}") for number in (1, 2, 3))
    transaction = Transaction(DECLARE, (NEW,), (gone,), (claimed,), (released,))
    nft.commit(transaction)
    assert nft.scripts == [CHANGE]
    nft.commit(transaction, declare=True)
    assert nft.scripts[1:] == [
        [
            f"add table {TABLE}",
            f"delete element {TABLE} m {{ 10.0.0.1 }}",
            f'add element {TABLE} m {{ 10.0.0.2 comment "pod new" : goto a }}',
            f"delete element {TABLE} m {{ 10.0.0.2 }}",
            f'create element {TABLE} m {{ 10.0.0.3 comment "pod new" : goto a }}',
            f'add element {TABLE} m {{ 10.0.0.5 comment "pod new" : goto a }}',
            f"delete element {TABLE} m {{ 10.0.0.5 }}",
            f'add element {TABLE} m {{ 10.0.0.5 comment "pod new" : goto a }}',
        ]
    ]


def test_elements_of_a_set_are_one_command() -> None:
    nft = Scripted()
    nft.commit(Transaction(remove=(NEW, MEMBER, OTHER)), declare=True)
    assert nft.scripts == [
        [f"delete element {TABLE} m {{ 10.0.0.5, 10.0.0.6 }}", f'delete element {TABLE} s {{ "veth1" }}']
    ]


def test_nothing_to_do_runs_nothing() -> None:
    nft = Scripted()
    nft.commit(Transaction(DECLARE))
    assert nft.scripts == []
    nft.commit(Transaction(DECLARE), declare=True)
    assert nft.scripts == [[f"add table {TABLE}"]]


def test_the_declaration_comes_with_the_first_put() -> None:
    """Where the set is absent, the second script declares it and creates the element."""
    nft = Scripted(refused(errno.ENOENT), refused(errno.ENOENT))
    nft.commit(Transaction(DECLARE, (NEW,)))
    create = f'create element {TABLE} m {{ 10.0.0.5 comment "pod new" : goto a }}'
    assert nft.scripts[1:] == [[create], [f"add table {TABLE}", create]]


def test_only_elements_that_are_there_are_removed() -> None:
    nft = Scripted(refused(errno.ENOENT), present=[OTHER])
    nft.commit(Transaction(remove=(NEW, OTHER)))
    assert nft.scripts[1:] == [[f"delete element {TABLE} m {{ 10.0.0.6 }}"]]


def test_a_claim_never_replaces_another_owners_element() -> None:
    holder = NEW._replace(comment="old pod-1")
    nft = Scripted(refused(errno.EEXIST), present=[holder])
    with pytest.raises(ElementTaken, match=r"10\.0\.0\.5 in inet cni_cnm m belongs to old pod-1") as raised:
        nft.commit(Transaction(DECLARE, claim=(NEW,)))
    assert raised.value.holders == (holder,)
    assert len(nft.scripts) == 1


def test_a_claim_replaces_its_owners_element() -> None:
    nft = Scripted(refused(errno.EEXIST), present=[NEW._replace(value="goto b")])
    nft.commit(Transaction(claim=(NEW,)))
    assert nft.scripts[1:] == [
        [
            f"delete element {TABLE} m {{ 10.0.0.5 }}",
            f'create element {TABLE} m {{ 10.0.0.5 comment "pod new" : goto a }}',
        ]
    ]


def test_a_release_leaves_another_owners_element() -> None:
    nft = Scripted(refused(errno.EEXIST), present=[NEW._replace(value="goto b", comment="other pod")])
    nft.commit(Transaction(release=(NEW,)))
    assert nft.scripts[1:] == [[]]


def test_a_script_that_fails_each_time_is_an_error() -> None:
    """Twice with the declaration: another program may change the same elements meanwhile."""
    nft = Scripted(*[refused(errno.EEXIST)] * 4)
    with pytest.raises(KernelError, match="refused"):
        nft.commit(Transaction(DECLARE, (NEW,)))
    assert [f"add table {TABLE}" in script for script in nft.scripts] == [False, False, True, True]


def test_any_other_answer_is_an_error_at_once() -> None:
    nft = Scripted(refused(errno.EPERM))
    with pytest.raises(KernelError) as raised:
        nft.commit(Transaction(put=(NEW,)))
    assert (raised.value.errno, len(nft.scripts)) == (errno.EPERM, 1)


def test_an_interrupted_script_runs_again() -> None:
    nft = Scripted(refused(errno.EINTR))
    nft.delete_table(TABLE)
    assert nft.scripts == [[f"add table {TABLE}", f"delete table {TABLE}"]] * 2


def test_rules_are_removed_one_by_one_if_one_of_them_is_absent() -> None:
    rules = [Rule("ip nat", "a", handle, "pod") for handle in (7, 8)]
    nft = Scripted(refused(errno.ENOENT), refused(errno.ENOENT))
    nft.remove_rules(rules, ["ip nat a"])
    lines = ["delete rule ip nat a handle 7", "delete rule ip nat a handle 8", "delete chain ip nat a"]
    assert nft.scripts == [lines, *([line] for line in lines)]


def test_a_listing_gives_its_elements() -> None:
    """Comments may have every character that separates elements, names of links those that are no white space."""
    listing = """table inet cni_cnm {
\tmap m {
\t\ttype ipv4_addr : verdict
\t\telements = { 10.0.0.5 comment "a, b } : c" : goto a,
\t\t\t     10.0.0.6 : drop }
\t}

\tset s {
\t\ttype ifname
\t\telements = { "veth1" comment "pod new",
\t\t\t     "a,b}{" comment "c",
\t\t\t     "star*" }
\t}

\tset empty {
\t\ttype ifname
\t}
}
"""
    assert list(Scripted(listing).elements(TABLE)) == [
        Element(TABLE, "m", "10.0.0.5", "goto a", "a, b } : c"),
        Element(TABLE, "m", "10.0.0.6", "drop"),
        Element(TABLE, "s", '"veth1"', comment="pod new"),
        Element(TABLE, "s", '"a,b}{"', comment="c"),
        Element(TABLE, "s", '"star*"'),
    ]


def test_an_absent_set_has_no_elements() -> None:
    """It is asked for as a map, then as a set."""
    nft = Scripted(refused(errno.ENOENT), refused(errno.ENOENT))
    assert list(nft.elements(TABLE, "m")) == []
    assert nft.scripts == [[f"list map {TABLE} m"], [f"list set {TABLE} m"]]


def test_a_listing_that_fails_is_an_error() -> None:
    with pytest.raises(KernelError):
        Scripted(refused(errno.EPERM)).elements(TABLE)
