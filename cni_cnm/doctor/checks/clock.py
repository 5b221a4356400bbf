"""The clock, against the times that this program has recorded."""

from __future__ import annotations

import time

from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_TOLERATED_S = 300.0


def look(picture: Picture) -> Iterator[Finding]:
    latest = max((network.created for network in picture.networks), default=0.0)
    behind = latest - time.time()
    if behind > _TOLERATED_S:
        yield Finding(
            f"the clock is at least {behind / 60:.0f} minutes behind: a network was made later than now",
            "Certificates of etcd and of plugins are refused as not valid yet.",
            (command("timedatectl", "set-ntp", "true"),),
        )
