"""When two texts are the same rule of iptables."""

from __future__ import annotations

import pytest

from cni_cnm.reference.rule import Rule, canonical, words

COMMENT = '-m comment --comment "name: \\"net\\" id: \\"c1\\""'
TEXT = f"-s 10.0.0.2/32 -p tcp {COMMENT} -m multiport --dports 1,2 -j CNI-X"


def test_words() -> None:
    """Quotes and backslashes are iptables' own."""
    assert list(words(TEXT))[7] == 'name: "net" id: "c1"'


@pytest.mark.parametrize(
    "other",
    [
        TEXT,
        f"-p tcp -s 10.0.0.2 -m multiport --destination-ports 1,2 {COMMENT} -j CNI-X",
        f"{COMMENT} -m multiport -p tcp --dports 1,2 -s 10.0.0.2 -j CNI-X",
    ],
)
def test_the_order_of_matches_says_nothing(other: str) -> None:
    assert canonical(other) == canonical(TEXT)


@pytest.mark.parametrize(
    "other",
    [
        TEXT.replace("1,2", "1,3"),
        TEXT.replace("-s ", "! -s "),
        TEXT.replace("CNI-X", "CNI-Y"),
        TEXT.replace("c1", "c2"),
        TEXT.replace("-p tcp ", ""),
        TEXT.replace("-j CNI-X", "-g CNI-X"),
        TEXT + " -m mark --mark 0x1",
    ],
)
def test_another_rule(other: str) -> None:
    assert canonical(other) != canonical(TEXT)


def test_targets_keep_their_options() -> None:
    assert canonical("-j DNAT --to-destination 10.0.0.2:80") != canonical("-j DNAT --to-destination 10.0.0.2:81")
    assert canonical('-m comment --comment "-j DROP" -j ACCEPT') != canonical("-j DROP")


def test_tables_are_told_apart() -> None:
    """The same words are another rule in another table or chain, and a rule of nftables is its text."""
    one = Rule("iptables nat", "X", "-j ACCEPT")
    assert len({one.same(), one._replace(table="ip6tables nat").same(), one._replace(chain="Y").same()}) == 3
    assert one._replace(first=True).same() == one.same()
    assert not Rule("inet t", "c", "accept").is_xt()
