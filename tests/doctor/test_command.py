"""The command: its output, exit codes, `--json`, `--fix`, and containers by name."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.doctor.world import WEB, World

Done = subprocess.CompletedProcess[str]


def doctor(*arguments: str) -> Done:
    return subprocess.run(["cni-cnm", "doctor", *arguments], capture_output=True, text=True)


def test_a_healthy_host(world: World) -> None:
    done = doctor()
    assert (done.returncode, done.stdout, done.stderr) == (0, "no findings\n", "")


def test_a_finding_has_its_reason_and_its_command(world: World) -> None:
    world.inside("c2", "route del default")
    done = doctor()
    assert done.returncode == 3
    assert done.stdout == (
        "inside: the endpoint web/c2/eth0: the route to 0.0.0.0/0 via 10.61.0.1 is missing\n"
        "    why: It reaches nothing outside of its network.\n"
        f"    run: nsenter --net={world.netns['c2']} -- ip -4 route replace 0.0.0.0/0 via 10.61.0.1 dev eth0\n"
        "1 finding\n"
    )
    shown = json.loads(doctor("--json").stdout)
    assert shown["findings"][0]["object"] == "web/c2/eth0"
    assert shown["unchecked"] == []
    world.follow(shown["findings"][0]["commands"])
    assert doctor().returncode == 0


def test_on_a_terminal(world: World) -> None:
    """With colours, and each command in one piece, however wide the terminal is."""
    world.inside("c2", "link set eth0 down")
    script = ["script", "-qec", "stty cols 40; cni-cnm doctor", "/dev/null"]
    done = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "TERM": "xterm"})
    world.repair("inside", "the interface eth0 is down")
    command = f"run: nsenter --net={world.netns['c2']} -- ip link set dev eth0 up"
    assert "\x1b[" in done.stdout
    assert command in done.stdout


def test_fix_repairs_what_is_safe_and_leaves_the_rest(world: World) -> None:
    """Ours, and sysctls that our networks need. The link of another program stays, and is left for the operator."""
    world.ip("link set br-web down")
    world.sysctl("net/ipv4/conf/br-web/forwarding", "0")
    world.ip("link add vpn0 up type bridge")
    world.ip("addr add 10.63.0.77/24 dev vpn0")
    found = doctor()
    assert "`cni-cnm doctor --fix` repairs 2 of them" in found.stdout
    done = doctor("--fix")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert "repaired: the network web: br-web is down; put right" in lines
    assert any(line.endswith("net/ipv4/conf/br-web/forwarding is 1 now") for line in lines)
    assert lines[-1] == "1 finding left"
    assert "10.63.0.77" in world.run("ip", "address", "show", "dev", "vpn0")
    world.ip("link del vpn0")
    assert doctor("--fix").stdout == "no findings\n"


def test_fix_repairs_files_and_what_is_left_of_containers(world: World) -> None:
    """A lease that was lost, a folder that any user may write to, a container that went without a DEL."""
    record = world.attach(WEB, "c8")
    world.ip(f"link del {record.host_ifname}")
    subprocess.run(["umount", record.netns], check=True)
    leases = world.folder / "leases" / "web"
    (leases / "10.61.0.2").unlink()
    leases.chmod(0o777)
    done = doctor("--fix")
    assert (
        sorted(line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("repaired"))
        == ["repaired"] * 3
    )
    assert done.stdout.endswith("\nno findings\n"), done.stdout
    assert (leases / "10.61.0.2").exists()
    assert oct(leases.stat().st_mode)[-3:] == "755"
    os.unlink(record.netns)


def test_fix_looks_again_before_it_acts(world: World) -> None:
    """What was repaired meanwhile is not touched, and nothing is said of it."""
    from cni_cnm.doctor.diagnose import fix

    world.ip("link set br-web down")
    found = world.look()
    world.follow(["cni-cnm repair"])
    assert list(fix(world.controller.host, found)) == []


def test_what_fix_could_not_repair_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cni_cnm.cli import run_command
    from cni_cnm.doctor.checks import networks

    world.ip("link set br-web down")
    monkeypatch.setattr(networks, "fix", lambda *_: "")
    monkeypatch.setattr("gc.disable", lambda: None)
    assert run_command(["cni-cnm", "doctor", "--fix", "--check", "networks"]) == 3
    assert "not repaired: the network web: br-web is down\n" in capsys.readouterr().out
    world.follow(["cni-cnm repair"])


def test_one_container(world: World) -> None:
    """By any of its names; faults of others are not looked at."""
    world.inside("c2", "route del default")
    try:
        for name in ("c1", "10.61.0.2", "8080", world.link("c1")):
            assert doctor(name).returncode == 0, name
        assert doctor("c2").returncode == 3
        assert doctor("--check", "networks", "c2").returncode == 0
    finally:
        world.follow(world.findings("inside")[0].commands)
    done = doctor("nowhere")
    assert (done.returncode, "nowhere" in done.stderr) == (1, True)


def test_a_check_that_cannot_look_says_so(world: World) -> None:
    """Settings of a cluster whose hosts are not asked: no packets without --reach."""
    text = world.config.read_text()
    world.config.write_text(f'{text}[cluster]\nstore = "etcd"\nendpoints = ["http://127.0.0.1:1"]\nnode = "n1"\n')
    try:
        done = doctor()
        assert "reach: not checked: whether other hosts are reached: `cni-cnm doctor --reach` sends" in done.stdout
        assert "cluster: the agent of the cluster does not run on this host" in done.stdout
    finally:
        world.config.write_text(text)


def test_settings_that_cannot_be_read(world: World) -> None:
    text = world.config.read_text()
    world.config.write_text("nonsense = 1\n")
    done = doctor()
    world.config.write_text(text)
    assert (done.returncode, "nonsense is an unknown key" in done.stderr) == (1, True)


def test_pods_are_named(world: World) -> None:
    """A finding of a pod's endpoint names the pod."""
    record = world.endpoint("c2")
    path = Path(world.controller.host.store.place("endpoints", record.id))
    text = path.read_text()
    path.write_text(json.dumps({**json.loads(text), "pod": ["front-0", "web", ""]}))
    world.inside("c2", "link set eth0 down")
    try:
        assert "the endpoint web/c2/eth0 (web/front-0): the interface eth0 is down" in doctor("web/front-0").stdout
    finally:
        path.write_text(text)
        world.repair("inside", "the interface eth0 is down")
