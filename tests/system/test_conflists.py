"""Files for CNI runtimes: written by `network create`, changed by `network edit`, and the plugin reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.node import Done

FOLDER = "/etc/cni/net.d"


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    made = Side(program(tmp_path_factory.mktemp("program")), "cni-cnm")
    yield made
    made.close()


def command(side: Side, words: str) -> Done:
    return side.node.run(str(side.executable), *words.split())


def configuration(side: Side, name: str) -> dict[str, Any]:
    """The plugin's configuration as a runtime makes it from the file."""
    document = json.loads(side.node.path(f"{FOLDER}/{name}").read_text(encoding="utf-8"))
    [entry] = document["plugins"]
    return {"cniVersion": document["cniVersion"], "name": document["name"], **entry}


def test_from_the_command_line_to_a_pod_and_back(side: Side) -> None:
    """A network that is made with its file, a pod by the file, an edit of both, and the pod's DEL."""
    refused = command(side, "network create shop --conflist")
    assert (refused.code, "--default permits that" in refused.err) == (1, True)
    made = command(side, "network create shop --conflist --default --subnet 10.9.0.0/24 --label team=a").ok()
    assert made.err == f"cni-cnm: {FOLDER}/10-shop.conflist configures the network for CNI runtimes\n"
    checked = command(side, f"conf check {FOLDER}/10-shop.conflist --bin-dir {side.executable.parent}").ok()
    assert checked.out.endswith("\nnothing is wrong\n")

    record = side.node.path("/var/lib/cni-cnm/networks/shop.json")
    before = record.read_bytes()
    side.container("c1")
    side.add(configuration(side, "10-shop.conflist")).ok()
    assert record.read_bytes() == before

    alone = command(side, "network edit shop --subnet 10.9.0.0/16")
    assert f"is configured by {FOLDER}/10-shop.conflist" in alone.err
    refused = command(side, "network edit shop --conflist --internal")
    assert "was made with internal False" in refused.err
    assert "internal" not in configuration(side, "10-shop.conflist")
    command(side, "network edit shop --conflist --subnet 10.9.0.0/16 -o com.docker.network.driver.mtu=1400").ok()
    edited = configuration(side, "10-shop.conflist")
    assert edited["ipam"]["ranges"] == [[{"subnet": "10.9.0.0/16"}]]
    assert edited["labels"] == {"team": "a"}
    after = record.read_bytes()
    side.container("c2")
    side.add(edited, "c2").ok()
    assert record.read_bytes() == after
    shown = command(side, "conf show shop --json").ok()
    sources = {row["key"]: row["source"] for row in json.loads(shown.out)}
    assert sources["mtu"].startswith(f"{FOLDER}/10-shop.conflist:")
    for container in ("c1", "c2"):
        side.delete(edited, container).ok()


@pytest.mark.parametrize("more", ["--ipam none", "--driver ptp", "--internal --ipv6", "--driver null"])
def test_every_kind_of_network(side: Side, more: str) -> None:
    """The first pod changes nothing of a network that was made with its file."""
    command(side, f"network create kind --conflist --default {more}").ok()
    [name] = [name for name in side.node.files(FOLDER) if name.endswith("-kind.conflist")]
    record = side.node.path("/var/lib/cni-cnm/networks/kind.json")
    before = record.read_bytes()
    side.container("kind")
    config = configuration(side, name.rpartition("/")[2])
    side.add(config, "kind").ok()
    assert record.read_bytes() == before
    side.delete(config, "kind").ok()
    command(side, "network rm kind").ok()
    side.node.path(name).unlink()
    side.node.run("ip", "netns", "delete", "kind").ok()
    side.containers.remove("kind")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("network create n --default", "--default is about the file that --conflist writes"),
        ("network create n --driver host --conflist", "the driver is 'host'"),
        ("network edit nope --internal", "there is no network 'nope'"),
        ("network edit plain", "no change is named"),
        ("network edit plain --conflist --internal", f"no file of {FOLDER} configures the network plain"),
        ("network edit plain --subnet ten", '--subnet is "ten"'),
        ("network edit plain -o team=a", "does not know the option team"),
        ("conf show nope", f"there is no network 'nope', and no file of {FOLDER} configures one"),
    ],
)
def test_refused(side: Side, words: str, sentence: str) -> None:
    """One sentence, and neither a network nor a file is touched."""
    if not side.node.path("/var/lib/cni-cnm/networks/plain.json").exists():
        command(side, "network create plain --subnet 10.7.0.0/24").ok()
    before = side.node.files("/var/lib/cni-cnm", FOLDER), command(side, "network inspect plain").out
    done = command(side, words)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert (side.node.files("/var/lib/cni-cnm", FOLDER), command(side, "network inspect plain").out) == before
