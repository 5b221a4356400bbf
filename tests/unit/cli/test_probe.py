"""What a kubelet is told: exit code 0, or the reason why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_cnm.cli import run_command
from cni_cnm.cluster import status_file
from cni_cnm.cluster.status_file import AgentStatus, NetworkStatus

CLUSTER = '[cluster]\nstore = "etcd"\nendpoints = ["http://192.0.2.1:2379"]\n'
KUBERNETES = '[cluster]\nstore = "kubernetes"\nconflist = "{folder}/conflist"\n'
READY = NetworkStatus("1" * 32, ready=True)
DOWN = NetworkStatus("2" * 32, ready=False, why="there is no link")


def probed(folder: Path, settings: str, monkeypatch: pytest.MonkeyPatch, status: AgentStatus | None) -> int:
    config = folder / "config.toml"
    config.write_text(f'run_dir = "{folder}"\n{settings}', encoding="utf-8")
    monkeypatch.setenv("CNI_CNM_CONFIG", str(config))
    if status is not None:
        status_file.write(str(folder), status)
    return run_command(["cni-cnm", "probe", "ready"])


@pytest.mark.parametrize(
    ("settings", "status", "reason"),
    [
        (CLUSTER, AgentStatus(os.getpid(), networks={"web": READY}), ""),
        (CLUSTER, AgentStatus(os.getpid(), networks={"web": READY, "back": DOWN}),
         "the network back has no data path: there is no link"),
        (CLUSTER, AgentStatus(os.getpid(), conflict="another host is called node1"), "another host is called node1"),
        (CLUSTER, AgentStatus(0), "no agent of the cluster runs here"),
        (KUBERNETES, AgentStatus(os.getpid(), networks={"other": READY}, warnings=("there is no podCIDR",)),
         "this node has not joined the network pods: there is no podCIDR"),
        (KUBERNETES, AgentStatus(os.getpid(), networks={"pods": READY}), "{folder}/conflist is not written yet"),
        (KUBERNETES.replace("conflist", "config.toml").replace("config.toml = ", "conflist = "),
         AgentStatus(os.getpid(), networks={"pods": READY}), ""),
        (CLUSTER, None, "no agent of the cluster runs here"),
        ("", AgentStatus(os.getpid(), networks={"web": READY}), "this host belongs to no cluster"),
    ],
)  # fmt: skip
def test_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: str,
    status: AgentStatus | None, reason: str,
) -> None:  # fmt: skip
    """All networks that the host has joined have their data path, says an agent that runs."""
    reason = reason.replace("{folder}", str(tmp_path))
    assert probed(tmp_path, settings.replace("{folder}", str(tmp_path)), monkeypatch, status) == (1 if reason else 0)
    said = capsys.readouterr().err
    assert said.startswith(f"cni-cnm: {reason}" if reason else "")
    assert bool(said) is bool(reason)


def test_live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a service: 11. With one: tests/kubernetes."""
    assert run_command(["cni-cnm", "probe", "live", "--socket", str(tmp_path / "s")]) == 11
    assert f"the service at {tmp_path}/s does not answer: No such file" in capsys.readouterr().err


def test_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What scripts/install reads: folders, and the file of the runtime, however TOML writes them."""
    config = tmp_path / "config.toml"
    text = """
    state_dir\t= '/srv/a b'
    [cluster]
      store = "kubernetes"
      conflist = '/etc/cni/net.d/1.conflist'  # as "kubeadm" wants
    """
    config.write_text(text, encoding="utf-8")
    assert run_command(["cni-cnm", "probe", "settings", str(config)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "run_dir /run/cni-cnm", "state_dir /srv/a b", "leases_dir /var/lib/cni/networks",
        "conflist /etc/cni/net.d/1.conflist",
    ]  # fmt: skip
    config.write_text('[cluster]\nstore = "kubernetes"\nmtu = 1400\n', encoding="utf-8")
    assert run_command(["cni-cnm", "probe", "settings", str(config)]) == 1
    assert "config.toml: cluster.mtu is an unknown key" in capsys.readouterr().err
