"""Listings: what is printed for 0, 1 and 500 rows, in a pipe and on a terminal, and what the options do."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pytest

from cni_cnm.cli.listing import EQUAL, PART, PREFIX, Column, Listing, plain
from tests.unit.cli import terminals

PODS = Listing(
    Column("ID", "POD ID", short=12, match=PREFIX),
    Column("Name", match=PART),
    Column("Addresses", match=EQUAL, filter="address"),
    Column("Ready", styles={"true": "green", "": "red"}),
    Column("Labels", shown=False, filter="label"),
)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number:064x}"[::-1],
            "name": f"pod-{number}",
            "addresses": [f"10.1.{number // 256}.{number % 256}/16", f"fd00:1234:5678:9abc:def0:0:0:{number:x}/64"],
            "ready": number % 2 == 0,
            "labels": {"app": "web", "tier": str(number % 3)},
            "kept": number,
        }
        for number in range(count)
    ]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cni-cnm pod ls")
    PODS.add_options(parser)
    return parser.parse_args(words)


def piped(capsys: pytest.CaptureFixture[str], count: int, *words: str) -> str:
    PODS.show(arguments(*words), rows(count))
    return capsys.readouterr().out


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int, count: int, *words: str, **environ: str) -> str:
    return terminals.shown(monkeypatch, width, lambda: PODS.show(arguments(*words), rows(count)), **environ)


def test_no_row_is_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    assert piped(capsys, 0) == "POD ID  NAME  ADDRESSES  READY\n"
    assert piped(capsys, 0, "--json") == "[]\n"
    assert piped(capsys, 0, "-q") == ""
    assert piped(capsys, 0, "--format", "json") == ""


def test_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert piped(capsys, 1) == (
        "POD ID        NAME   ADDRESSES                                       READY\n"
        "000000000000  pod-0  10.1.0.0/16, fd00:1234:5678:9abc:def0:0:0:0/64  true\n"
    )


def test_500_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each, columns one below the other, no blanks at the end."""
    lines = piped(capsys, 500).splitlines()
    assert len(lines) == 501
    assert {line.index(" 10.1.") for line in lines[1:]} == {lines[0].index(" ADDRESSES")}
    assert not any(line.endswith(" ") for line in lines)


def test_200_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """All on one line, ready is green and the others red."""
    shown = on_terminal(monkeypatch, 200, 2)
    assert [line.rstrip() for line in terminals.without_colours(shown).splitlines()] == [
        "POD ID        NAME   ADDRESSES                                       READY",
        "000000000000  pod-0  10.1.0.0/16, fd00:1234:5678:9abc:def0:0:0:0/64  true",
        "100000000000  pod-1  10.1.0.1/16, fd00:1234:5678:9abc:def0:0:0:1/64  false",
    ]
    lines = shown.splitlines()
    assert "\x1b[32mtrue" in lines[1]
    assert "\x1b[31mfalse" in lines[2]


@pytest.mark.parametrize("count", [0, 1, 500])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_nothing_is_lost_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, count: int) -> None:
    """No line is wider than the terminal, and every cell is there when its lines are put together."""
    lines = terminals.without_colours(on_terminal(monkeypatch, width, count)).splitlines()
    assert max(map(len, lines)) <= width
    assert [title for title in lines[0].split() if title != "POD"] == ["ID", "NAME", "ADDRESSES", "READY"]
    begin, end = lines[0].index("ADDRESSES"), lines[0].index("READY")
    joined = "".join(line[begin:end].replace(" ", "") for line in lines[1:])
    assert joined == "".join(",".join(row["addresses"]) for row in rows(count))


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[3" not in on_terminal(monkeypatch, 200, 2, NO_COLOR="1")
    assert "\x1b" not in on_terminal(monkeypatch, 200, 2, TERM="dumb")


def test_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """--no-trunc: whole ids, and a line for each row also on a narrow terminal."""
    lines = terminals.without_colours(on_terminal(monkeypatch, 40, 2, "--no-trunc")).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("1" + 63 * "0" + "  pod-1  10.1.0.1/16, ")


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("-q",), "000000000000\n100000000000\n"),
        (("-q", "--no-trunc"), 64 * "0" + "\n1" + 63 * "0" + "\n"),
        (("--format", "{{.Name}}"), "pod-0\npod-1\n"),
        (("--format", r"{{ .Name }}\t{{.Labels}}"), "pod-0\tapp=web, tier=0\npod-1\tapp=web, tier=1\n"),
        (("--format", r"table {{.Name}}\t{{.Ready}}"), "NAME   READY\npod-0  true\npod-1  false\n"),
        (("--filter", "name=-1", "--format", "<{{.Name}}>"), "<pod-1>\n"),
        (("-f", "id=1", "-q"), "100000000000\n"),
        (("-f", "address=10.1.0.1", "-q"), "100000000000\n"),
        (("-f", "address=10.1.0.1/16", "-q"), "100000000000\n"),
        (("-f", "address=10.1.0", "-q"), ""),
        (("-f", "label=app", "-f", "label=tier=1", "-q"), "000000000000\n100000000000\n"),
        (("-f", "label=tier=1", "-f", "ready=true", "-q"), ""),
    ],
)
def test_options(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], out: str) -> None:
    assert piped(capsys, 2, *words) == out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json has the rows as they are; --format json has the fields as text, an object on each line, as Docker has."""
    assert json.loads(piped(capsys, 3, "--json", "-f", "ready=true")) == rows(3)[::2]
    assert [json.loads(line) for line in piped(capsys, 2, "--format", "json").splitlines()][1] == {
        "ID": "100000000000",
        "Name": "pod-1",
        "Addresses": "10.1.0.1/16, fd00:1234:5678:9abc:def0:0:0:1/64",
        "Ready": "false",
        "Labels": "app=web, tier=1",
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "{{.Nme}}"), "there is no field 'Nme' (did you mean Name?)"),
        (("--format", "{{.Other}}"), "there is no field 'Other' (known: ID, Name, Addresses, Ready, Labels)"),
        (("--format", "{{range .Names}}"), "only {{.Field}} is understood between braces; fields: ID, Name"),
        (("--format", "name"), "'name' has no field, such as {{.ID}}"),
        (("--filter", "name"), "'name' is not KEY=VALUE"),
        (("--filter", "nme=a"), "there is no key 'nme' (did you mean name?)"),
        (("--filter", "other=a"), "there is no key 'other' (known: id, name, address, ready, label)"),
        (("--json", "-q"), "not allowed with argument"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(*words)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_names_that_a_terminal_would_obey(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel allows them for links, and an executable may have any name."""
    hostile = [{"id": name} for name in ("\x1b[2J", "a\nb", "n\udcff", "[red]x")]
    PODS.show(arguments("--format", "table {{.ID}}"), hostile)
    assert capsys.readouterr().out.split("\n") == ["POD ID", "\\x1b[2J", "a\\nb", "n\\udcff", "[red]x", ""]


def test_a_long_cell_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A pod may publish thousands of ports."""
    ports = [f"{number}->80/tcp" for number in range(1000, 4000)]
    PODS.show(arguments("--format", "{{.Addresses}}"), [{"addresses": ports}])
    assert capsys.readouterr().out == ", ".join(ports) + "\n"


def test_an_encoding_that_lacks_a_character(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with open(tmp_path / "out", "w", encoding="latin-1") as out:
        monkeypatch.setattr(sys, "stdout", out)
        PODS.show(arguments("--format", "{{.Name}}"), [{"name": "łódź é"}])
    assert (tmp_path / "out").read_bytes() == b"\\u0142\xf3d\\u017a \xe9\n"


def test_columns() -> None:
    """As wide as the widest cell, without blanks at the end."""
    assert plain(("ID", "NAME"), [("1", "a"), ("22", "bb")]) == ["ID  NAME", "1   a", "22  bb"]


STEPS = Listing(Column("Result"), Column("Where"), Column("How"), quiet="Where")
WAY = [
    {"result": "ok", "where": "web/front-0", "how": "the packet leaves by eth0"},
    {"result": "ok", "where": "the host", "how": "no rule matches"},
    {"result": "ends", "where": "the host", "how": "no route"},
    {"result": "ok", "where": "web/front-0", "how": "again"},
]


def test_groups_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rows that follow each other have in common is said once, above them."""
    shown = terminals.shown(monkeypatch, 30, lambda: STEPS.groups(WAY, "Where"))
    assert [line.rstrip() for line in terminals.without_colours(shown).splitlines()] == [
        "web/front-0",
        "  ok    the packet leaves by",
        "        eth0",
        "the host",
        "  ok    no rule matches",
        "  ends  no route",
        "web/front-0",
        "  ok    again",
    ]


def test_groups_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is complete."""
    STEPS.groups(WAY[:2], "Where")
    assert capsys.readouterr().out.splitlines() == [
        "RESULT  WHERE        HOW",
        "ok      web/front-0  the packet leaves by eth0",
        "ok      the host     no rule matches",
    ]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("production/checkout-service-7d9f", ["production/checkout-", "service-7d9f"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklmnopqrstuvwx", "yz"]),
    ],
)
def test_a_long_word_is_cut_after_a_mark(monkeypatch: pytest.MonkeyPatch, name: str, lines: list[str]) -> None:
    one = Listing(Column("ID"))
    shown = terminals.without_colours(terminals.shown(monkeypatch, 24, lambda: one.table([{"id": name}])))
    assert [line.rstrip() for line in shown.splitlines()] == ["ID", *lines]
