"""Elements that are put in by netlink messages are those that libnftables would make of the same transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from subprocess import run

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cni_cnm.errors import KernelError
from cni_cnm.firewall import comment
from cni_cnm.kernel import Element, Transaction
from cni_cnm.kernel.nft import KernelNft
from cni_cnm.kernel.nftables.nfnetlink import Questions
from cni_cnm.kernel.setns import entered
from tests.kernel.lab import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.nftables.nfnetlink import Answer, Question

TABLE = "inet cni_cnm"
DECLARE = f"""\
add table {TABLE}
delete table {TABLE}
add table {TABLE}
add map {TABLE} verdicts {{ type ipv4_addr : verdict; }}
add map {TABLE} verdicts6 {{ type ipv6_addr : verdict; }}
add set {TABLE} links {{ type ifname . ether_addr; }}
add set {TABLE} groups {{ type ifname . devgroup; }}
add set {TABLE} outside {{ type ipv4_addr . ipv4_addr; flags interval; }}
add set {TABLE} outside6 {{ type ipv6_addr . ipv6_addr; flags interval; }}
add map {TABLE} ranges {{ type inet_proto . inet_service : ipv4_addr; flags interval; }}
add map {TABLE} ports {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
add map {TABLE} ports6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
add chain {TABLE} a
add chain {TABLE} b
"""
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
PORTS = st.integers(0, 65535)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True)
PROTOCOLS = st.sampled_from((6, 17, 132))
TEXTS = st.text(max_size=60).map(lambda text: comment("0123456789abcdef", text))
VERDICTS = st.sampled_from(("goto a", "jump b", "accept", "drop"))


NONE = st.just("")


def elements(
    name: str, keys: st.SearchStrategy[str], values: st.SearchStrategy[str] = NONE
) -> st.SearchStrategy[Element]:  # fmt: skip
    return st.builds(Element, st.just(TABLE), st.just(name), keys, values, TEXTS | st.just(""))


TARGETS = st.builds("{} . {}".format, V4, PORTS), st.builds("{} . {}".format, V6, PORTS)
ELEMENTS = st.lists(
    st.one_of(
        elements("verdicts", V4, VERDICTS),
        elements("verdicts6", V6, VERDICTS),
        elements("links", st.builds('"{}" . 02:00:00:00:00:{:02x}'.format, NAMES, st.integers(0, 255))),
        elements("groups", st.builds('"{}" . {}'.format, NAMES, st.integers(1, 2**32 - 1))),
        elements("ports", st.builds("{} . {} . {}".format, V4, PROTOCOLS, PORTS), TARGETS[0]),
        elements("ports6", st.builds("{} . {}".format, PROTOCOLS, PORTS), TARGETS[1]),
    ),
    max_size=12,
    unique_by=lambda element: element.place,
)
RANGES = [
    Element(TABLE, "ranges", "6 . 8000-8999", "10.0.0.2", "0123456789ab one"),
    Element(TABLE, "ranges", "17 . 53-60", "10.0.0.3", "0123456789ab two"),
    Element(TABLE, "outside", "10.0.0.0/24 . 192.0.2.0/24", "", "0123456789ab three"),
    Element(TABLE, "outside", "10.0.0.0/24 . 198.51.100.7", "", "0123456789ab four"),
    Element(TABLE, "outside6", "fd00::/64 . 2001:db8::/32", "", "0123456789ab five"),
    Element(TABLE, "outside6", "fd00::/64 . ::ffff:0:0/96", "", "0123456789ab six"),
    Element(TABLE, "outside6", "fd00:0:0:1::/65 . 2001:db8::7", "", "0123456789ab seven"),
]


@pytest.fixture
def nft(require_root: None) -> Iterator[KernelNft]:
    namespace = Namespace()
    yield KernelNft(namespace.fd)
    namespace.close()


def ruleset(nft: KernelNft) -> object:
    """As nft lists it, without handles."""
    assert nft._netns is not None
    command = ["nft", "--json", "list", "ruleset"]
    listed = entered(nft._netns, lambda: run(command, capture_output=True, text=True, check=True).stdout)
    found = json.loads(listed)["nftables"]
    for entry in found:
        for thing in entry.values():
            thing.pop("handle", None)
    return found


def applied(nft: KernelNft, transactions: Sequence[Transaction], *, by_script: bool) -> object:
    nft._run([DECLARE])
    for transaction in transactions:
        if by_script:
            nft._run_all(transaction._replace(declare=""))
        else:
            assert nft._change(transaction)
    return ruleset(nft)


def test_the_ruleset_is_the_same(nft: KernelNft) -> None:
    """Whatever is put, claimed, replaced, removed and released."""

    @settings(max_examples=15, phases=(Phase.generate,))
    @given(put=ELEMENTS, claim=ELEMENTS, other=TEXTS)
    def check(put: list[Element], claim: list[Element], other: str) -> None:
        taken = {element.place for element in put}
        claim = [element for element in claim if element.place not in taken]
        again = [element._replace(comment=other) for element in put]
        transactions = [
            Transaction(put=tuple(put), claim=tuple(claim)),
            Transaction(put=tuple(again)),
            Transaction(remove=tuple(again[::2]), release=tuple(claim[::2])),
        ]
        assert applied(nft, transactions, by_script=False) == applied(nft, transactions, by_script=True)

    check()


def test_ranges_are_the_same(nft: KernelNft) -> None:
    """Of ports and of addresses, put in and taken out."""
    for transactions in (
        [Transaction(put=tuple(RANGES))],
        [Transaction(claim=tuple(RANGES)), Transaction(release=tuple(RANGES[::2]), remove=(RANGES[3],))],
    ):
        assert applied(nft, transactions, by_script=False) == applied(nft, transactions, by_script=True)


def test_thousands_of_elements_are_one_transaction(nft: KernelNft) -> None:
    """More than one message can hold."""
    nft._run([DECLARE])
    many = [
        Element(TABLE, "ports6", f"6 . {port}", f"fd00::2 . {port}", comment("0123456789ab", "x" * 100))
        for port in range(1, 4001)
    ]
    nft.commit(Transaction(claim=tuple(many)))
    assert list(nft.find(many)) == many
    with pytest.raises(KernelError):  # the last one is refused, so none is removed
        nft._change(Transaction(remove=(*many, many[0]._replace(key="6 . 5000"))))
    assert list(nft.find(many)) == many
    nft.commit(Transaction(release=tuple(many)))
    assert not any(nft.find(many))


def test_types_of_sets_are_asked_for_once(nft: KernelNft, monkeypatch: pytest.MonkeyPatch) -> None:
    nft.commit(Transaction(DECLARE), declare=True)
    asked: list[int] = []
    ask = Questions.ask

    def counted(self: Questions, questions: Sequence[Question]) -> list[Answer | None]:
        asked.append(len(questions))
        return ask(self, questions)

    monkeypatch.setattr(Questions, "ask", counted)
    nft.commit(Transaction(put=(Element(TABLE, "verdicts", "10.0.0.1", "accept", ""),)))
    nft.commit(Transaction(put=(Element(TABLE, "verdicts", "10.0.0.2", "drop", ""),)))
    assert asked == [1]


@pytest.mark.parametrize("with_table", [True, False], ids=["table", "set"])
def test_a_set_that_another_program_made_again_with_other_types(nft: KernelNft, with_table: bool) -> None:
    nft.commit(Transaction(DECLARE), declare=True)
    nft.commit(Transaction(put=(Element(TABLE, "verdicts", "10.0.0.1", "accept", ""),)))
    other = KernelNft(nft._netns)
    gone = f"delete table {TABLE}\nadd table {TABLE}\n" if with_table else f"delete map {TABLE} verdicts\n"
    other.commit(Transaction(f"{gone}add map {TABLE} verdicts {{ type ipv6_addr : verdict; }}\n"), declare=True)
    if with_table:
        nft.handles([TABLE])  # as every ADD does
    wanted = Element(TABLE, "verdicts", "fd00::1", "accept", "")
    nft.commit(Transaction(put=(wanted,)))
    assert nft.find([wanted]) == [wanted]
