"""Faults of files: configurations, leases, records, settings of other managers, room on the disk."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from cni_cnm.cnm.records import PENDING
from cni_cnm.conflists.folder import FOLDER
from cni_cnm.doctor.checks import leases
from cni_cnm.settings import SERVICE_SOCKET
from tests.doctor.world import WEB, World

PORTS = {"portMappings": True}


def conflist(name: str, *plugins: dict[str, object], file: str = "") -> Path:
    path = Path(FOLDER) / (file or f"{name}.conflist")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": plugins}, indent=2))
    return path


@pytest.fixture(autouse=True)
def clean(world: World) -> None:
    """Without configurations of an earlier test."""
    for path in Path(FOLDER).glob("*"):
        path.unlink()


OURS: dict[str, object] = {"type": "cni-cnm", "capabilities": PORTS}


def test_a_good_configuration(world: World) -> None:
    conflist("podnet", OURS)
    assert world.findings() == []


def test_a_configuration_that_is_no_json(world: World) -> None:
    (Path(FOLDER) / "10-podnet.conflist").write_text('{"name": "podnet", ')
    [finding] = world.findings("conflists")
    assert "JSON" in finding.what
    assert finding.commands == (f"cni-cnm conf check {FOLDER}/10-podnet.conflist",)


def test_a_list_with_the_name_of_a_single_plugin(world: World) -> None:
    conflist("podnet", OURS, file="10-podnet.conf")
    world.repair("conflists", "is a list of plugins")


def test_a_single_plugin_with_the_name_of_a_list(world: World) -> None:
    (Path(FOLDER) / "10.conflist").write_text(json.dumps({"name": "podnet", **OURS}))
    world.repair("conflists", "has no list of plugins")


def test_a_name_that_no_runtime_reads(world: World) -> None:
    conflist("podnet", OURS, file="10-podnet.conflist.txt")
    world.repair("conflists", "runtimes read only names that end in")
    assert os.listdir(FOLDER) == ["10-podnet.conflist"]


def test_a_file_that_was_put_aside_is_no_fault(world: World) -> None:
    conflist("podnet", OURS, file="10-podnet.conflist.disabled")
    assert world.findings() == []


def test_a_plugin_that_is_not_installed(world: World) -> None:
    conflist("stale", {"type": "removed-long-ago"})
    world.shown("conflists", "names the plugin removed-long-ago")


@pytest.mark.parametrize(
    "capabilities", [None, {}, {"bandwidth": True}, {"portMappings": False}], ids=["none", "empty", "other", "off"]
)
def test_a_capability_that_is_missing(world: World, capabilities: dict[str, object] | None) -> None:
    own: dict[str, object] = {} if capabilities is None else {"capabilities": capabilities}
    path = conflist("podnet", {"type": "cni-cnm", **own})
    world.repair("conflists", "does not declare the capability portMappings")
    kept = json.loads(path.read_text())["plugins"][0]["capabilities"]
    assert kept == {**(capabilities or {}), "portMappings": True}


def test_a_value_that_this_program_refuses(world: World) -> None:
    conflist("podnet", {**OURS, "ipam": {"type": "host-local", "subnet": "10.70.0.0/33"}})
    [finding] = world.findings("conflists")
    assert "podnet.conflist:" in finding.what
    assert finding.commands == (f"cni-cnm conf check {FOLDER}/podnet.conflist",)


def test_two_files_of_one_network(world: World) -> None:
    conflist("podnet", OURS, file="10-a.conflist")
    conflist("podnet", OURS, file="20-b.conflist")
    world.repair("conflists", "both have a network podnet")


def test_kubernetes_takes_another_file(world: World) -> None:
    config = Path("/var/lib/kubelet/config.yaml")
    config.touch()
    conflist("flannel", {"type": "cni-cnm-other"}, file="10-flannel.conflist")
    conflist("podnet", OURS, file="20-podnet.conflist")
    (world.plugins / "cni-cnm-other").touch()
    try:
        world.shown("conflists", "Kubernetes uses /etc/cni/net.d/10-flannel.conflist")
    finally:
        config.unlink()
        (world.plugins / "cni-cnm-other").unlink()


def test_frames_of_a_bridge_on_a_node_of_kubernetes(world: World) -> None:
    config = Path("/var/lib/kubelet/config.yaml")
    if not os.path.exists("/proc/sys/net/bridge"):
        pytest.skip("the kernel has no br_netfilter")
    config.touch()
    world.sysctl("net/bridge/bridge-nf-call-iptables", "0")
    try:
        world.repair("br_netfilter", "bridge-nf-call-iptables is 0")
    finally:
        config.unlink()


# leases and records -----------------------------------------------------------------------------------------------


def lease(world: World, address: str) -> Path:
    return world.folder / "leases" / "web" / address


def test_a_lease_that_is_gone(world: World) -> None:
    lease(world, "10.61.0.2").unlink()
    assert "for 10.61.0.2" in world.repair("leases", "web").what
    assert lease(world, "10.61.0.2").exists()


def test_a_lease_of_a_container_that_starts(world: World) -> None:
    """Another program writes it before its container is on the bridge."""
    lease(world, "10.61.0.78").write_text("0123456789abcdef\r\neth0")
    found = world.findings("leases")
    lease(world, "10.61.0.78").unlink()
    assert found == []


def test_a_lease_without_an_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_STARTS_S", -1.0)
    lease(world, "10.61.0.77").write_text("0123456789abcdef\r\neth0")
    world.repair("leases", "the lease of 10.61.0.77 belongs to 0123456789ab, which has no endpoint here")


def test_a_lease_of_another_program_is_not_looked_into(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference plugin's container is on the same bridge: whose lease it is cannot be told."""
    monkeypatch.setattr(leases, "_STARTS_S", -1.0)
    lease(world, "10.61.0.77").write_text("0123456789abcdef\r\neth0")
    world.ip("link add strange0 type veth peer name strange1")
    world.ip("link set strange0 master br-web")
    try:
        [(check, left)] = world.look("leases").unchecked
        assert (check, "strange0 on br-web have no record, and may have 10.61.0.77" in left.reason) == ("leases", True)
        assert world.findings("leases") == []
    finally:
        world.ip("link del strange0")
        lease(world, "10.61.0.77").unlink()


def test_a_folder_that_any_user_may_write_to(world: World) -> None:
    (world.folder / "leases" / "web").chmod(0o777)
    world.repair("modes", "any user may write to it")


def test_a_damaged_record(world: World) -> None:
    place = world.folder / "state" / "networks" / "broken.json"
    place.write_text("{")
    assert "move the file away" in world.shown("records", "broken.json is not JSON").why
    place.unlink()


def test_a_call_that_was_killed(world: World) -> None:
    record = world.attach(WEB, "c9")
    path = Path(world.controller.host.store.place("endpoints", record.id))
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": PENDING}))
    assert world.findings("records") == []  # a call may be at work on it
    old = time.time() - 600
    os.utime(path, (old, old))
    world.repair("records", "is unfinished")


def test_a_container_that_went_without_a_del(world: World) -> None:
    record = world.attach(WEB, "c8")
    world.ip(f"link del {record.host_ifname}")
    subprocess.run(["umount", record.netns], check=True)
    assert [check for check, finding in world.look().findings if "web/c8/eth0" in finding.what] == ["records"]
    world.repair("records", "the container of the endpoint web/c8/eth0 is gone")
    os.unlink(record.netns)


def test_a_link_without_a_record(world: World) -> None:
    record = world.attach(WEB, "c7")
    os.unlink(world.controller.host.store.place("endpoints", record.id))
    for address in record.addresses:
        lease(world, str(address.interface.ip)).unlink()
    finding = world.shown("links", f"the link {record.host_ifname} on br-web of the network web has no record")
    assert "if no container runs there" in finding.why
    world.ip(f"link del {record.host_ifname}")
    world.follow(["cni-cnm repair"])
    assert world.findings() == []


def test_two_endpoints_with_one_address(world: World) -> None:
    record = world.attach(WEB, "c6")
    path = Path(world.controller.host.store.place("endpoints", record.id))
    other = str(world.endpoint("c1").addresses[0].interface.ip)
    path.write_text(path.read_text().replace(str(record.addresses[0].interface.ip), other))
    finding = world.shown("duplicates", f"both have the address {other}")
    assert finding.commands == (f"cni-cnm endpoint inspect {record.id[:12]}",)
    world.follow([f"cni-cnm endpoint rm --force {record.id[:12]}", "cni-cnm repair"])
    lease(world, str(record.addresses[0].interface.ip)).unlink()
    assert world.findings() == []


def test_the_host_has_an_address_of_a_container(world: World) -> None:
    world.ip("addr add 10.61.0.2/32 dev up0")
    world.shown("duplicates", "the host has the address 10.61.0.2 of the endpoint web/c1/eth0, on up0")
    world.ip("addr del 10.61.0.2/32 dev up0")


# subnets ----------------------------------------------------------------------------------------------------------


def test_a_link_with_the_subnet(world: World) -> None:
    world.ip("link add vpn0 up type bridge")
    world.ip("addr add 10.63.0.77/24 dev vpn0")
    world.shown("overlaps", "the subnet 10.63.0.0/24 of the network back is also that of vpn0")
    world.ip("link del vpn0")


def test_a_route_into_the_subnet(world: World) -> None:
    world.ip("route add 10.63.0.128/25 dev up0")
    world.shown("overlaps", "overlaps with 10.63.0.128/25 of a route of the host by up0")
    world.ip("route del 10.63.0.128/25 dev up0")


def test_two_networks_with_one_subnet(world: World) -> None:
    subnet = ["--subnet", "10.63.0.0/24", "--allow-overlap"]
    subprocess.run(["cni-cnm", "network", "create", "twin", *subnet], check=True, capture_output=True)
    world.repair("overlaps", "the network twin")


# the rest of the host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [("ro,size=64m", "is mounted read-only"), ("size=64m,nr_inodes=200", "inodes left"), ("size=1m", "KiB left")],
)
def test_a_file_system_that_cannot_be_written(world: World, options: str, said: str) -> None:
    place = str(world.folder / "leases" / "mounted")
    os.makedirs(place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "leases", place], check=True)
    settings = world.controller.host.settings
    world.controller.host.settings = settings._replace(leases_dir=place)
    try:
        [finding] = [one for one in world.findings("space") if place in one.what]
        assert said in finding.what
        world.follow(finding.commands)
        assert world.findings("space") == []
    finally:
        world.controller.host.settings = settings
        subprocess.run(["umount", place], check=True)
        os.rmdir(place)


def test_a_service_that_is_gone(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(SERVICE_SOCKET)
    world.repair("service", f"no process listens on {SERVICE_SOCKET}")


def test_systemd_networkd_takes_our_links(world: World) -> None:
    os.makedirs("/run/systemd/netif")
    os.makedirs("/etc/systemd/network")
    Path("/etc/systemd/network/20-all.network").write_text("[Match]\nName=*\n\n[Network]\nDHCP=yes\n")
    found = world.findings("managers")
    assert [one.about for one in found] == ["br-back", "br-web", "veth00000000"]
    for finding in found:
        world.follow(finding.commands[:1])  # the other one tells networkd, which does not run here
    assert world.findings("managers") == []
    os.rmdir("/run/systemd/netif")


def test_network_manager_takes_our_bridges(world: World) -> None:
    os.makedirs("/run/NetworkManager", exist_ok=True)
    os.makedirs("/etc/NetworkManager/conf.d")
    try:
        found = world.findings("managers")
        assert [one.about for one in found] == ["br-back", "br-web"]
        for finding in found:
            world.follow(finding.commands[:1])
        assert world.findings("managers") == []
    finally:
        os.rmdir("/run/NetworkManager")


def test_a_clock_that_is_behind(world: World) -> None:
    place = world.folder / "state" / "networks" / "back.json"
    text = place.read_text()
    place.write_text(json.dumps({**json.loads(text), "created": time.time() + 7200}))
    try:
        [finding] = world.findings("clock")
        assert finding.what.startswith("the clock is at least 120 minutes behind")
        assert finding.commands == ("timedatectl set-ntp true",)  # the tests do not set the machine's clock
    finally:
        place.write_text(text)
    assert world.findings() == []
