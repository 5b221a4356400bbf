"""What we ask of firewalld, and how its answers are taken. A stand-in keeps zones in a file, with its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.errors import InvalidConfig, KernelError
from cni_cnm.kernel import firewalld, iptables

STAND_IN = """\
#!/bin/sh
[ -e {folder}/bus ] || {{ echo "DBUS_ERROR: Failed to connect to socket /run/x: No such file" >&2; exit 36; }}
[ -e {folder}/running ] || {{ echo "FirewallD is not running" >&2; exit 252; }}
zone=${{1#--zone=}} link=${{2#*=}}
case $zone in trusted|pods) ;; *) echo "Error: INVALID_ZONE: $zone" >&2; exit 112;; esac
case $2 in
--change-interface=*) rm -f {folder}/*.zone/$link; mkdir -p {folder}/$zone.zone; : > {folder}/$zone.zone/$link;;
--query-interface=*) [ -e {folder}/$zone.zone/$link ];;
--remove-interface=*) rm {folder}/$zone.zone/$link 2>/dev/null || exit 125;;
*) exit 2;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with firewalld, running."""
    command = tmp_path / "firewall-cmd"
    command.write_text(STAND_IN.format(folder=tmp_path))
    command.chmod(0o755)
    for what in ("bus", "running"):
        (tmp_path / what).touch()
    monkeypatch.setitem(iptables.PATH, "PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_put_in_and_taken_out(host: Path) -> None:
    """The bridge goes into the zone, out of another one, and out again; done twice is done."""
    assert firewalld.trusts("br-1") is False
    assert firewalld.trust("br-1")
    assert firewalld.trust("br-1")
    assert firewalld.trusts("br-1") is True
    assert firewalld.trust("br-1", "pods")
    assert firewalld.trusts("br-1") is False
    assert firewalld.forget("br-1", "pods")
    assert firewalld.forget("br-1", "pods")
    assert firewalld.trusts("br-1", "pods") is False


def test_zone_that_does_not_exist(host: Path) -> None:
    """firewalld's own words reach the caller."""
    with pytest.raises(KernelError, match="refused --change-interface=br-1 in the zone nowhere: INVALID_ZONE"):
        firewalld.trust("br-1", "nowhere")


@pytest.mark.parametrize("what", ["bus", "running"])
def test_not_running(host: Path, what: str) -> None:
    """Installed and stopped is as not there; so is a host without the bus that firewalld speaks on."""
    (host / what).unlink()
    assert firewalld.trust("br-1") is firewalld.forget("br-1") is False
    assert firewalld.trusts("br-1") is None


def test_not_installed(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started on a host without it."""
    (host / "firewall-cmd").unlink()
    monkeypatch.setitem(iptables.PATH, "PATH", str(host))
    assert firewalld.trust("br-1") is firewalld.forget("br-1") is False
    assert firewalld.trusts("br-1") is None


def test_zone_names() -> None:
    """Absent means trusted; what would be an option or a path is refused."""
    assert firewalld.parse_zone(None) == firewalld.parse_zone("") == "trusted"
    assert firewalld.parse_zone("my-zone_1") == "my-zone_1"
    for wrong in ("-x", "a/b", "x" * 18, 5, "two words"):
        with pytest.raises(InvalidConfig, match="firewalldZone"):
            firewalld.parse_zone(wrong)
