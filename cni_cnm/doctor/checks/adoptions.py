"""Networks that are being taken over from the reference plugins or released, and no process is doing it any more."""

from __future__ import annotations

from cni_cnm.adopt import adoption
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding
from cni_cnm.errors import TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture


def look(picture: Picture) -> Iterator[Finding]:
    for one in adoption.adoptions(picture.host.store):
        if one.done:
            continue
        try:
            with adoption.lock(picture.host, one.network):
                yield Finding(
                    adoption.unfinished(one).msg,
                    "A part of its containers has rules of this program, another part those of the plugins.",
                    (command("cni-cnm", one.way, one.network, "--yes"),),
                    about=one.network,
                )
        except TryAgain:  # it is going on
            continue
