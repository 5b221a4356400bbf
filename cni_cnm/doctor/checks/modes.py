"""Folders and files of ours that any user may write to."""

from __future__ import annotations

from cni_cnm.cnm.reconcile import modes as part
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.doctor.picture import Picture


def look(picture: Picture) -> Iterator[Finding]:
    for difference in part.compare(picture.host, EVERYTHING):
        yield Finding(
            difference.sentence,
            "Any user of this host can give an address to a second container, or replace a record.",
            (command("chmod", "go-w", difference.key),),
            about=difference.object,
            safe=not difference.stays,
            key=difference.key,
        )


def fix(host: Host, finding: Finding) -> str:
    return part.repair(host, Difference("", "", finding.key))
