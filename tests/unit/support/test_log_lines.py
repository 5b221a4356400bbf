"""Lines of the log: what is known of each, and nothing that was given."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.frontend.reply import Subject
from cni_cnm.frontend.request_log import log
from cni_cnm.settings import Settings
from cni_cnm.support import log_lines

SECRET = "canary-4711"


def test_lines_of_both_forms(tmp_path: Path) -> None:
    """As the program writes them: the text is left out, with the names in it."""
    for form in ("text", "json"):
        settings = Settings(log=str(tmp_path / form), log_format=form)
        subject = Subject("ADD", SECRET, SECRET, SECRET, f"{SECRET}/{SECRET}")
        log(f"ADD {SECRET} {SECRET}/eth0 pod='{SECRET}' 10.1.0.2/16 ok", 4.2, settings, subject, 0)
        log(f"DEL {SECRET} failed, code 11: {SECRET} failed, code 5: 7.7 ms", 1.0, settings, Subject("DEL"), 11)
        log(f"REPAIR the network {SECRET}", 3.0, settings)
        log(f"{SECRET} of another form", 3.0, settings)
        log(f"failed, code 4: unknown CNI_COMMAND: {SECRET}", 0.5, settings, Subject(), 4)
        found = log_lines.of_file(settings.log)
        assert [(line["verb"], line["code"], line["ms"]) for line in found] == [
            ("ADD", 0, 4.2),
            ("DEL", 11, 1.0),
            ("REPAIR", 0, 3.0),
            ("", 4, 0.5),
        ]
        assert all(line["pid"] == os.getpid() for line in found)
        assert SECRET not in json.dumps(found)


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    assert log_lines.of_file(str(tmp_path / "none")) == []


def test_only_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = "2026-11-28T10:00:00+0000 cni-cnm[8]: ADD net c1/eth0 ok {} ms\n"
    path.write_text("".join(line.format(f"{number}.0") for number in range(log_lines.LINES_MAX + 7)), encoding="ascii")
    found = log_lines.of_file(str(path))
    assert (len(found), found[0]["ms"]) == (log_lines.LINES_MAX, 7.0)


KEYS = st.sampled_from(["time", "pid", "verb", "ms", "code", "message"])
VALUES = st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text()))


@given(st.lists(st.one_of(st.text(), st.dictionaries(KEYS, VALUES).map(json.dumps))))
def test_any_lines(lines: list[str]) -> None:
    """No line makes it fail, and only words and numbers of ours come out."""
    for found in (one for line in lines for one in log_lines._fields(line)):
        assert found.keys() == {"time", "pid", "verb", "code", "ms"}
        assert set(str(found["time"])) <= set("0123456789T:+-")
