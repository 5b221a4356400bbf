"""`cni-cnm adopt` and `release` of several networks, and after what was done by hand."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import ROOT
from tests.system.adoption_host import BIN, CONFLIST, HERE, AdoptionHost, newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(libcni_client: Path, tmp_path: Path) -> Iterator[AdoptionHost]:
    """Without pods."""
    made = AdoptionHost(tmp_path, newest(), "iptables", libcni_client)
    yield made
    made.close()


def test_bridges_reach_each_other_as_before(host: AdoptionHost) -> None:
    """What the plugins let through stays so, or the network is not taken over. Their isolation does not stay behind."""
    closed = host.network("closed", "cni1", "10.8.0.0/24", {"type": "firewall", "ingressPolicy": "same-bridge"})
    opened = host.network("opened", "cni2", "10.9.0.0/24", {"type": "firewall"})
    host.add("p1")
    host.add("p2", file=closed)
    host.add("p3", file=opened)
    assert (host.reaches("p1", "10.8.0.2"), host.reaches("p1", "10.9.0.2")) == (False, True)

    shown = host.command("adopt", "net", "--yes", code=1)
    assert "apart from the bridge cni2 of another program" in shown
    assert host.node.files("/var/lib/cni-cnm") == set()
    assert host.reaches("p1", "10.9.0.2")

    host.command("adopt", "--all", "--yes")
    assert (host.reaches("p1", "10.8.0.2"), host.reaches("p1", "10.9.0.2")) == (False, True)
    assert not [line for line in host.rules() if "-o cni" in line]
    host.command("network", "allow", "net", "closed")
    assert host.reaches("p1", "10.8.0.2")

    for name in ("net", "closed", "opened"):
        host.command("release", name, "--yes")
    assert (host.reaches("p1", "10.8.0.2"), host.reaches("p1", "10.9.0.2")) == (False, True)
    for name in ("p1", "p2", "p3"):
        host.check(name)


def test_what_was_done_by_hand_meanwhile(host: AdoptionHost) -> None:
    """A file that was removed is put back if asked for. Each message names the command that works."""
    host.add("p1", port=8080)
    host.command("adopt", "net", "--yes")
    assert "there is nothing to take over" in host.command("adopt", "net")
    path = host.node.path(CONFLIST)
    path.write_text(path.read_text().replace("10.7.0.0/24", "10.7.0.0/25"))
    assert "`cni-cnm release net --yes --discard-edit` does this" in host.command("release", "net")
    path.unlink()
    assert f"{CONFLIST} was removed since" in host.command("release", "net", "--yes", code=1)
    host.command("release", "net", "--yes", "--discard-edit")
    assert json.loads(path.read_text())["plugins"][0]["type"] == "bridge"
    host.check("p1")

    host.command("adopt", "net", "--yes")
    host.delete("p1")
    assert "`cni-cnm release net --yes` puts it back" in host.command("network", "rm", "net")
    host.add("p2")
    host.delete("p2")
    path.unlink()
    host.command("network", "rm", "net")
    assert host.node.files("/var/lib/cni-cnm/adopt") == set()


def test_the_file_stays_where_it_is_and_whose_it_is(host: AdoptionHost) -> None:
    """The folders may be given as seen from another one than that in which the release is called."""
    path = host.node.path(CONFLIST)
    os.chown(path, 1000, 1000)
    relative = f"cd /etc/cni; {BIN}/cni-cnm adopt net --yes --conf-dir net.d --cache-dir ../../var/lib/cni/results"
    host.node.run("sh", "-c", relative).ok()
    assert path.stat().st_uid == 1000
    host.command("release", "net", "--yes")
    assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000)
    assert json.loads(path.read_text())["plugins"][0]["type"] == "bridge"


def test_two_interfaces_of_a_container(host: AdoptionHost) -> None:
    """In nftables the names of the plugins' rules say which one's they are: both are taken over, and released."""
    file = host.network("two", "cni1", "10.8.0.0/24", ipMasqBackend="nftables")
    host.add("p1", file=file)
    host.interface("p1", "eth1")
    host.command("adopt", "two", "--yes")
    # The list had no portmap either, and an edit of it would have to be discarded by a release.
    assert host.command("doctor").strip() == "no findings"
    host.command("release", "two", "--yes")
    for ifname in ("eth1", "eth0"):
        host.interface("p1", ifname, "CHECK")
        host.interface("p1", ifname, "DEL")
    assert "10.8.0." not in host.command("endpoint", "ls")


def test_what_was_left_alone_is_deleted_whole(host: AdoptionHost) -> None:
    """By the DEL of this program: limits and saved settings of the plugins, too."""
    for name in ("p1", "p2"):
        host.add(name, limits=True)
    host.node.run("ip", "-n", "p1", "link", "del", "eth0").ok()
    assert "the container has no veth eth0" in host.command("adopt", "net", "--yes")
    host.delete("p1")
    assert len([name for name in host.node.links() if name.startswith("bwp")]) == 1
    assert host.node.files("/run/cni/tuning") == {"/run/cni/tuning/p2_eth0.json"}
    host.check("p2")


def test_a_container_that_was_made_again_meanwhile(host: AdoptionHost) -> None:
    """Its file was remembered with another address. A run that was killed then goes on with the rules of this one."""
    host.add("p1")
    earlier = json.dumps(host.cached()["net-p1-eth0"]).replace("10.7.0.2/24", "10.7.0.99/24").encode()
    host.command("adopt", "net", "--yes")
    rule = ("CNI-FORWARD", "-s", "10.7.0.2/32", "-j", "ACCEPT")
    host.node.run("iptables", "-A", *rule).ok()
    path = host.node.path("/var/lib/cni-cnm/adopt/net.json")
    half = json.loads(path.read_text())
    half["cached"] = dict.fromkeys(half["cached"], b64encode(earlier).decode())
    path.write_text(json.dumps({**half, "done": False}))
    host.command("adopt", "net", "--yes")
    assert host.node.run("iptables", "-C", *rule).code == 1
    host.check("p1")


def test_deleted_between_a_kill_and_the_next_run(host: AdoptionHost) -> None:
    """The DEL of one side leaves what the other side has of the container. The next run removes it, either way."""
    node, place = host.node, "/var/lib/cni-cnm/adopt/net.json"

    def rules() -> str:
        saved = (node.run(f"{name}-save").ok().out for name in ("iptables", "ip6tables"))
        return "\0".join(saved)

    def as_killed(saved: str, **changes: Any) -> None:
        """Both sides have every container, as where a run was killed."""
        for name, text in zip(("iptables", "ip6tables"), saved.split("\0"), strict=True):
            node.run(f"{name}-restore", stdin=text).ok()
        node.write(place, json.dumps({**json.loads(node.path(place).read_text()), "done": False, **changes}))

    host.add("p1", port=8080, limits=True)
    host.add("p2", port=8081, limits=True)
    before, saved = node.path(CONFLIST).read_text(), rules()
    host.command("adopt", "net", "--yes")
    as_killed(saved)
    host.delete("p1")
    host.command("adopt", "net", "--yes")
    assert not [line for line in host.rules() if "10.7.0.2" in line or "8080" in line]
    host.command("release", "net", "--yes")

    saved = rules()
    host.command("adopt", "net", "--yes")
    as_killed(saved, way="release")
    node.write(CONFLIST, before)
    host.delete("p2")
    host.command("release", "net", "--yes")
    assert not [line for line in host.rules() if "10.7.0." in line]
    assert node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes", "/var/lib/cni-cnm") == set()
    assert host.command("doctor").strip() == "no findings"


def test_a_reason_is_short(host: AdoptionHost) -> None:
    """The table has the first. Rules of the other backend of iptables are named as that, not as missing."""
    for name in ("p1", "p2"):
        host.add(name, port=8080 + int(name[1]))
    host.node.run("iptables", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT").ok()
    host.node.run("iptables", "-F", "CNI-FORWARD").ok()
    shown, _, rest = host.command("adopt", "net", "--json").partition("cni-cnm: ")
    assert rest.startswith("nothing was changed")
    reason = json.loads(shown)[0]["pods"][0]["reason"].split("; ")
    assert len(reason) > 3
    assert f"{reason[0]} ({len(reason) - 1} more with --json)" in host.command("adopt", "net")
    script = "iptables-save -t nat | iptables-legacy-restore; iptables -t nat -F; iptables -t nat -X"
    host.node.run("sh", "-c", script).ok()
    assert "is in the other backend of iptables" in host.command("adopt", "net")


def test_a_host_port_of_two_containers(host: AdoptionHost) -> None:
    """The plugins allow it. The younger one is left alone, and still is when it is looked at again."""
    host.add("p1", port=8080)
    host.add("p2", port=8080)
    host.add("p3")
    host.node.write("/var/lib/cni/results/net-p3-eth0", "{")
    why = "left alone  the host port 8080/tcp is already published by net/p1/eth0"
    for arguments in ((), ("--yes",), ()):
        lines = host.command("adopt", "net", *arguments).splitlines()
        assert [why in line for line in lines if line.startswith("net      p2")] == [True]
        assert next(line for line in lines if "libcni's file of it is damaged" in line).startswith("net      p3")
    host.open("outside", HERE, 8080)
    host.delete("p2")
    host.talk()


def test_several_at_once(host: AdoptionHost) -> None:
    """One does it. The others say that it is being done."""
    host.add("p1")
    script = f"for n in 1 2 3; do {BIN}/cni-cnm adopt net --yes & done; wait"
    said = host.node.run("sh", "-c", script).err
    assert said.count("the network net is taken over;") >= 1
    assert said.count("the network net is taken over;") + said.count("another process is taking over") == 3
    host.check("p1")


def test_uninstall_gives_networks_back(host: AdoptionHost, bundle: Path) -> None:
    """It is refused while a network is taken over, also without containers, and says what to do. --force does it."""
    install, node = str(ROOT / "scripts/install"), host.node
    node.run("sh", "-c", f"rm {BIN}/cni-cnm; {install}").ok()
    before = node.path(CONFLIST).read_text()
    host.command("adopt", "net", "--yes")
    refused = node.run(install, "--uninstall")
    assert refused.code == 3
    assert "taken over from the reference plugins: net: nothing was uninstalled (`cni-cnm release" in refused.err
    host.add("p1", port=8080)
    node.run(install, "--uninstall", "--purge", "--force").ok()
    assert node.path(CONFLIST).read_text() == before
    host.open("outside", HERE, 8080)
    host.check("p1")
    host.delete("p1")
