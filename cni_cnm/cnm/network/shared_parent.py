"""Links of the host that several networks use, such as the parent of macvlan networks.

Decisions are taken under the lock `link/NAME`, inside the network's own lock. So of two networks that are deleted at
once, the last one removes the link.
"""

from __future__ import annotations

from contextlib import nullcontext

from cni_cnm.cnm.records import network_records
from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord


def lock(host: Host, record: NetworkRecord) -> AbstractContextManager[None]:
    """The lock of the link that the network shares; no lock for a network that shares none."""
    link = _link(host, record)
    return host.store.lock(f"link/{link}") if link else nullcontext()


def refuse_conflict(host: Host, record: NetworkRecord) -> None:
    """Conflict if another network uses the link in a way that excludes this one."""
    driver = drivers.get(record.driver)
    for other in _others(host, record):
        why = (
            driver.sharing_conflict(record.options, other.options)
            if other.driver == record.driver
            else f"a link takes {record.driver} or {other.driver} interfaces, not both"
        )
        if why:
            link = _link(host, record)
            raise Conflict(
                f"the network {record.name} cannot share {link} with the network {other.name}: {why}",
                hint=f"use another parent, or `cni-cnm network rm {other.name}`",
            )


def delete_data_path(host: Host, record: NetworkRecord) -> None:
    """Remove the network's data path, unless another network uses it."""
    if not any(_others(host, record)):
        drivers.get(record.driver).delete_network(record.options, host.stack)


def replace(host: Host, old: NetworkRecord, new: NetworkRecord) -> None:
    """The links of an unused network whose record is replaced. The old one is removed if no other network uses it."""
    with lock(host, new):
        refuse_conflict(host, new)
    with lock(host, old):
        if drivers.get(old.driver).shares_links and _link(host, old) != _link(host, new):
            delete_data_path(host, old)


def _others(host: Host, record: NetworkRecord) -> Iterator[NetworkRecord]:
    link = _link(host, record)
    for other in network_records(host.store) if link else ():
        if other.name != record.name and _link(host, other) == link:
            yield other


def _link(host: Host, record: NetworkRecord) -> str:
    driver = drivers.get(record.driver)
    return driver.shared_link(record.options, host.stack) if driver.shares_links else ""
