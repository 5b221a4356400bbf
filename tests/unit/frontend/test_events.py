"""The file of events: who reads sees each one once, its length is bounded, and nothing that is in it does harm."""

from __future__ import annotations

import json
from pathlib import Path

from cni_cnm.frontend import events
from cni_cnm.frontend.events import Event, Reader

MADE = Event(events.NETWORK_MADE, "network web was made, driver bridge", "web")
NOTED = Event(events.NOTED, "the subnet is also that of vpn0")


def test_each_event_is_read_once(tmp_path: Path) -> None:
    """From the moment on at which the reader was made, also where there was no file then."""
    early = Reader(str(tmp_path))
    assert list(early.new()) == []
    events.append(str(tmp_path), MADE)
    late = Reader(str(tmp_path))
    assert list(early.new()) == [MADE]
    events.append(str(tmp_path), NOTED)
    assert list(early.new()) == list(late.new()) == [NOTED]
    assert list(early.new()) == list(late.new()) == []


def test_two_files_of_bounded_length(tmp_path: Path) -> None:
    """A reader that looks often enough misses nothing."""
    reader = Reader(str(tmp_path))
    found: list[Event] = []
    sent = [NOTED._replace(sentence=f"{number} {'x' * 900}") for number in range(800)]
    for number, event in enumerate(sent):
        events.append(str(tmp_path), event)
        if number % 100 == 0:
            found += reader.new()
    found += reader.new()
    assert found == sent
    files = list(tmp_path.iterdir())
    assert sorted(path.name for path in files) == ["events", "events.1"]
    assert all(path.stat().st_size < events.SIZE_MAX + 4000 for path in files)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_what_is_no_event_is_left_out(tmp_path: Path) -> None:
    """Such as a line that is not yet whole, or one of another version. Hostile text is one line of bounded length."""
    reader, file = Reader(str(tmp_path)), tmp_path / "events"
    long = Event(events.NOTED, "a\nb\x07" + "x" * 9000)
    events.append(str(tmp_path), long)
    foreign = [b"", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, b'{"kind": "unknown", "sentence": "", "network": ""}',
               b'{"kind": "noted", "sentence": 3, "network": ""}']  # fmt: skip
    whole = json.dumps(NOTED._asdict()).encode()
    file.write_bytes(file.read_bytes() + b"\n".join(foreign) + b"\n" + whole)
    [found] = reader.new()
    assert found.sentence.startswith("a\\nb\\x07xxx")
    assert len(found.sentence) < 2100
    with file.open("ab") as more:
        more.write(b"\n")
    assert list(reader.new()) == [NOTED]


def test_no_folder_and_a_link_are_no_errors(tmp_path: Path) -> None:
    events.append(str(tmp_path / "none"), MADE)
    target = tmp_path / "target"
    (tmp_path / "events").symlink_to(target)
    events.append(str(tmp_path), MADE)
    assert not target.exists()
    assert list(Reader(str(tmp_path / "none")).new()) == []
