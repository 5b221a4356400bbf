"""`cni-cnm explain` as a command: what it prints, its exit status, and what it refuses."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator

import pytest

from cni_cnm.cli import explain as command
from cni_cnm.errors import CnmError, InvalidConfig, NoSuchEndpoint
from tests.explain.lab import PORT, ExplainLab
from tests.explain.topology import network


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainLab]:
    """Two networks that are not allowed to each other; pod1 publishes a port, and each pod waits on PORT."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = ExplainLab(tmp_path_factory.mktemp("command"))
    made.attach("pod1", network("own", 1), [{"hostPort": 8001, "containerPort": PORT, "protocol": "udp"}])
    made.attach("pod2", network("own", 2))
    made.listen()
    yield made
    made.close()


def run(lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser.add_subparsers())
    config = lab.folder / "config.toml"
    config.write_text(f'run_dir = "{lab.folder}/run"\nstate_dir = "{lab.folder}/state"\n', encoding="utf-8")
    monkeypatch.setenv("CNI_CNM_CONFIG", str(config))
    arguments = parser.parse_args(["explain", *words])
    return lab.host.call(lambda: int(arguments.verb(arguments)))


def test_a_packet_that_arrives(
    lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps as columns, the answer's too, and a last line in words. A published port is named by its number."""
    assert run(lab, monkeypatch, "8001") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "udp 198.51.100.1 → 192.0.2.1:8001, from outside by wan0"
    assert lines[2].split() == ["RESULT", "WHERE", "WHAT", "HOW"]
    assert any("dnat to 10.1.0.2 (own1/pod1/eth0)" in line for line in lines)
    assert "the answer" in lines
    assert lines[-1] == "REACHED: it arrives at pod1, and the answer comes back"


def test_an_endpoint_that_is_unfinished(
    lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said of a container on the way, and of no other one."""
    [path] = [one for one in (lab.folder / "run" / "endpoints").iterdir() if '"pod2"' in one.read_text()]
    whole = path.read_text()
    path.write_text(whole.replace('"ready"', '"pending"'))
    try:
        run(lab, monkeypatch, "pod1", "--to", "outside")
        assert "unfinished" not in capsys.readouterr().err
        run(lab, monkeypatch, "pod2", "--to", "outside")
        assert "the endpoint own2/pod2/eth0 is unfinished" in capsys.readouterr().err
    finally:
        path.write_text(whole)


def test_a_packet_that_is_dropped(
    lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3; the cause in words, and the command that opens the networks."""
    assert run(lab, monkeypatch, "pod1", "--to", "pod2") == command.NOT_REACHED
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == (
        "DROPPED: at the host: forward: our rule drops it: between two networks that are not allowed to each other "
        "(own1, own2)"
    )
    assert lines[-1] == "next: cni-cnm network allow own1 own2"


def test_the_command_that_it_names_is_the_cure(
    lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After it the packet arrives."""
    lab.allow("own1", "own2")
    assert run(lab, monkeypatch, "pod1", "--to", f"pod2:{PORT}", "--protocol", "udp") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("REACHED")
    lab.revoke("own1", "own2")


def test_no_process_waits(lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It arrives, and is refused there."""
    assert run(lab, monkeypatch, "pod2", "--from", "host:81") == command.NOT_REACHED
    assert capsys.readouterr().out.splitlines()[-1] == (
        "REFUSED: it arrives at pod2, where no process waits on tcp port 81"
    )


def test_json(lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A list, as there may be two packets: to the outside, and from the host."""
    assert run(lab, monkeypatch, "pod1", "--json") == 0
    outward, inward = json.loads(capsys.readouterr().out)
    assert (outward["outcome"], outward["answer"]) == ("leaves", None)
    assert (inward["outcome"], inward["where"], inward["next"]) == ("reached", "pod1", "")
    assert {"where", "what", "text", "mark"} == inward["steps"][0].keys()


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("pod1", "--to", "pod2", "--from", "host"), InvalidConfig, "two directions"),
        (("pod1", "--to", "pod2", "--protocol", "udp"), InvalidConfig, "needs a port"),
        (("pod1", "--to", "pod2:70000"), InvalidConfig, "70000 is no port"),
        (("99999",), InvalidConfig, "99999 is no port"),
        (("0/udp",), InvalidConfig, "0 is no port"),
        (("pod1", "--to", "www.example.com"), NoSuchEndpoint, "there is no endpoint"),
        (("nothing",), NoSuchEndpoint, "there is no endpoint"),
        (("pod1", "--to", "pod2", "--send"), InvalidConfig, "belongs to --live"),
    ],
)
def test_what_is_refused(
    lab: ExplainLab, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], error: type[CnmError], said: str
) -> None:
    """In words that name what was given."""
    with pytest.raises(error, match=said):
        run(lab, monkeypatch, *words)
