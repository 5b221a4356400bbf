"""This host in its cluster: the agent, the store, and the data path of each overlay network."""

from __future__ import annotations

import os

from cni_cnm.cluster import status_file
from cni_cnm.cnm import overlay_record
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.drivers import OVERLAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cluster.status_file import AgentStatus
    from cni_cnm.doctor.picture import Picture


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    settings = picture.settings.cluster
    overlays = [network for network in picture.networks if network.driver == OVERLAY]
    if settings is None:
        for network in overlays:
            yield Finding(
                f"the settings have no [cluster], and {network.name} is an overlay network",
                "Nothing keeps the way to other hosts. Give the settings their [cluster] again, or remove the network.",
                (command("cni-cnm", "network", "inspect", network.name),),
                about=network.name,
            )
        return
    status = status_file.read(picture.settings.run_dir)
    if status is None:
        yield Finding(
            "the agent of the cluster does not run on this host",
            "Hosts and blocks that change are not known here.",
            (_start(),),
        )
        return
    if status.conflict:
        repair = _other_identity(status, picture.settings.state_dir)
        yield Finding(status.conflict, "This host gives no addresses of overlay networks.", repair)
    if not status.store.reachable:
        why = status.store.why.removeprefix("etcd does not answer: ")
        yield Finding(
            f"{status.store.name} does not answer: {why}",
            "Containers go on. Hosts that join, and further blocks, are not known here.",
            tuple(command("curl", "--max-time", "5", f"{url.rstrip('/')}/health") for url in settings.endpoints)
            or (command("cni-cnm", "node", "ls"),),
            about=status.store.name,
        )
    for sentence in status.warnings:
        yield Finding(sentence, "Some hosts are not reached.", (command("cni-cnm", "node", "ls"),))
    for network in overlays:
        known = status.networks.get(network.name)
        if known is not None and not known.ready:
            yield Finding(
                f"the network {network.name} has no data path: {known.why}",
                "Its containers do not reach those of other hosts.",
                (_start(),),
                about=network.name,
            )
        for subnet, holder in overlay_record.lost(network).items():
            yield Finding(
                f"the block {subnet} of the network {network.name} belongs to {holder} now",
                "Addresses of this host are given to containers of the other one.",
                (command("cni-cnm", "network", "inspect", network.name),),
                about=network.name,
            )


def _start() -> str:
    if os.path.isdir("/run/systemd/system"):
        return command("systemctl", "restart", "cni-cnm.service")
    return "cni-cnm serve &"


def _other_identity(status: AgentStatus, state_dir: str) -> tuple[str, ...]:
    """A machine that was cloned with its state gets another identity. Else the other host of this name is gone."""
    if "copy of the other" in status.conflict:
        return command("rm", "-r", f"{state_dir}/cluster"), _start()
    return (command("cni-cnm", "node", "rm", status.host),)
