"""Misspelled nouns, verbs, options and values: the one that was meant is named, or else all that are known."""

from __future__ import annotations

import pytest

from cni_cnm.cli import NOUNS, run_command


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("netwrok ls", "argument NOUN: 'netwrok' is unknown (did you mean network?)"),
        ("pods", f"argument NOUN: 'pods' is unknown (known: {', '.join(NOUNS)})"),
        ("endpoint lst", "argument VERB: 'lst' is unknown (did you mean ls?)"),
        ("explain web --protocol tpc", "argument --protocol: 'tpc' is unknown (did you mean tcp?)"),
        ("network create --subnt 10.0.0.0/24 x", "unknown arguments: --subnt x (did you mean --subnet?)"),
        ("network create --subnt=10.0.0.0/24 x", "unknown arguments: --subnt=10.0.0.0/24 (did you mean --subnet?)"),
        ("network inspect x --colour", "cni-cnm network inspect: error: unknown arguments: --colour\n"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], words: str, sentence: str) -> None:
    assert run_command(["cni-cnm", *words.split()]) == 2
    assert sentence in capsys.readouterr().err
