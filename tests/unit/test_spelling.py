"""Near misses: the word that was meant, and none where no known word is near."""

from __future__ import annotations

import pytest

from cni_cnm import spelling

KNOWN = ("bridge", "driver", "linger", "log", "mtu", "run_dir", "com.docker.network.driver.mtu", "--subnet")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("brige", "bridge"),  # one is left out
        ("bridgee", "bridge"),  # one is too many
        ("brdige", "bridge"),  # two are exchanged
        ("Drivers", "driver"),
        ("lingr", "linger"),
        ("mtuu", "mtu"),
        ("rundir", "run_dir"),
        ("RUN-DIR", "run_dir"),
        ("--subnt", "--subnet"),
        ("driver.mtu", "com.docker.network.driver.mtu"),
        ("lag", "log"),
        ("lo", "log"),
        ("la", ""),  # two letters of three: any word
        ("bgp", ""),
        ("", ""),
        ("gateway", ""),
    ],
)
def test_the_nearest_word(word: str, meant: str) -> None:
    assert spelling.meant(word, KNOWN) == meant


def test_a_nearer_word_wins_wherever_it_stands() -> None:
    assert spelling.meant("networks", ("netwrks1", "network", "networkss")) == "network"


def test_without_a_near_word_all_are_named() -> None:
    assert spelling.hint("brige", ("bridge", "ptp")) == "did you mean bridge?"
    assert spelling.hint("bgp", ("bridge", "ptp")) == "known: bridge, ptp"
