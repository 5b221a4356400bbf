"""Programs that are needed beside a firewall of the host, to put our accepts into it."""

from __future__ import annotations

import shutil

from cni_cnm.doctor.commands import install
from cni_cnm.doctor.finding import Finding
from cni_cnm.kernel import xtables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_WHY = "What containers send may be dropped there: cni-cnm cannot put its accepts into this firewall."


def look(picture: Picture) -> Iterator[Finding]:
    firewalls = picture.host.foreign_firewalls
    if firewalls is None:
        return
    if any(xtables.stamps()) and not (shutil.which("iptables-legacy") or shutil.which("iptables")):
        yield Finding("the host has rules of iptables-legacy, and no iptables-legacy", _WHY, (install("iptables"),))
    if firewalls.firewalld() and not shutil.which("firewall-cmd"):
        yield Finding("the host has rules of firewalld, and no firewall-cmd", _WHY, (install("firewalld"),))
