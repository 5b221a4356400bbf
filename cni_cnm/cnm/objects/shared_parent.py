"""Links of the host that several networks stand on, as a macvlan's parent: who may, and who is the last.

What is decided here is decided under the link's lock, inside that of the network: the last of two networks that are
deleted at once takes the link along.
"""

from __future__ import annotations

from contextlib import nullcontext

from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import NetworkRecord


def lock(controller: Controller, record: NetworkRecord) -> AbstractContextManager[None]:
    """Nothing is locked for a network that shares no link."""
    link = _link(controller, record)
    return controller.store.lock(f"link/{link}") if link else nullcontext()


def refuse_clash(controller: Controller, record: NetworkRecord) -> None:
    """Conflict if another network's way with the link leaves no room for this one's."""
    driver = drivers.get(record.driver)
    for other in _others(controller, record):
        why = (
            driver.clash(record.options, other.options)
            if other.driver == record.driver
            else f"a link takes {record.driver} or {other.driver} interfaces, not both"
        )
        if why:
            link = _link(controller, record)
            raise Conflict(
                f"the network {record.name} cannot share {link} with the network {other.name}: {why}",
                hint=f"use another parent, or `cni-cnm network rm {other.name}`",
            )


def dismantle(controller: Controller, record: NetworkRecord) -> None:
    """Remove the network's data path, unless another network stands on it."""
    if not any(_others(controller, record)):
        drivers.get(record.driver).delete_network(record.options, controller.host)


def replace(controller: Controller, old: NetworkRecord, new: NetworkRecord) -> None:
    """What becomes of the links when an unused network is put on record anew."""
    with lock(controller, new):
        refuse_clash(controller, new)
    with lock(controller, old):
        if drivers.get(old.driver).shares_links and _link(controller, old) != _link(controller, new):
            dismantle(controller, old)


def _others(controller: Controller, record: NetworkRecord) -> Iterator[NetworkRecord]:
    link = _link(controller, record)
    for other in controller.networks() if link else ():
        if other.name != record.name and _link(controller, other.record) == link:
            yield other.record


def _link(controller: Controller, record: NetworkRecord) -> str:
    driver = drivers.get(record.driver)
    return driver.shared(record.options, controller.host) if driver.shares_links else ""
