"""Networks that answer names: whether a server runs for each, with the names that are recorded."""

from __future__ import annotations

import os
from errno import EADDRINUSE

from cni_cnm.cnm.network import name_service
from cni_cnm.cnm.reconcile import names as reconcile_names
from cni_cnm.cnm.reconcile.changed import EVERYTHING
from cni_cnm.doctor.commands import command, install
from cni_cnm.doctor.finding import REPAIR, Finding
from cni_cnm.names import server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_WHY = "Its containers do not find each other by name, and other names neither, where the gateway is their name server."


def look(picture: Picture) -> Iterator[Finding]:
    for record in picture.networks:
        for sentence in name_service.obstacles(picture.host, record):
            yield Finding(sentence, _WHY, (_remedy(sentence),), about=record.name)
    for difference in reconcile_names.compare(picture.now, EVERYTHING):
        yield Finding(difference.sentence, "Questions for these names get another answer than they should.", (REPAIR,))


def _remedy(sentence: str) -> str:
    if not server.program():
        return install(f"{server.PROGRAM}-base")
    if os.strerror(EADDRINUSE) in sentence:  # a server of the host listens on all addresses
        return command("ss", "-Hlnptu", "sport = :53")
    return _start()


def _start() -> str:
    """The service starts name servers. One that a call has started does not."""
    if os.path.isdir("/run/systemd/system"):
        return command("systemctl", "enable", "--now", "cni-cnm.socket", "cni-cnm.service")
    return command("cni-cnm", "serve")
