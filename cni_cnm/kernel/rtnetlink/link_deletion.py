"""Deletes links. Several are put into a reserved link group, which one request deletes.

The kernel waits 15 to 20 ms for each request, however many links it deletes.
"""

from __future__ import annotations

from errno import ENODEV

from cni_cnm.errors import KernelError
from cni_cnm.kernel.contract.link import DELETION_GROUP
from cni_cnm.kernel.netlink.header import RTM_DELLINK, RTM_SETLINK
from cni_cnm.kernel.rtnetlink import links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.rtnetlink.connection import Connection


def delete(connection: Connection, indexes: Sequence[int]) -> None:
    """All are tried. No error for a link that is absent; the first failure is raised."""
    if len(indexes) > 1 and _delete_as_group(connection, indexes):
        return
    failures = [error for index in indexes if (error := _attempt(connection, index)) is not None]
    if failures:
        raise failures[0]


def delete_group(connection: Connection, group: int) -> None:
    """Delete all links of a link group; ENODEV if it has none."""
    request = links.grouped(0, group)
    connection.control(request, RTM_DELLINK, f"deleting the link group {group:#x}")


def _delete_as_group(connection: Connection, indexes: Sequence[int]) -> bool:
    """False if some link is left: it cannot be deleted, or cannot be put into the group, or a foreign link is in it."""
    grouped = _put_in_group(connection, indexes, DELETION_GROUP)
    try:
        delete_group(connection, DELETION_GROUP)
    except KernelError as error:
        if error.errno != ENODEV:  # ENODEV: all are gone, or another program has deleted the group
            _put_in_group(connection, indexes, 0)
            return False
    return grouped


def _put_in_group(connection: Connection, indexes: Sequence[int], group: int) -> bool:
    """All are tried, absent links are skipped; False if a link is there and cannot be put into the group."""
    grouped = True
    for index in indexes:
        request = links.grouped(index, group)
        try:
            connection.control(request, RTM_SETLINK, f"setting group of {connection.name(index)}")
        except KernelError as error:
            grouped = grouped and error.errno == ENODEV
    return grouped


def _attempt(connection: Connection, index: int) -> KernelError | None:
    try:
        connection.control(links.message(index), RTM_DELLINK, f"deleting {connection.name(index)}")
    except KernelError as error:
        return error if error.errno != ENODEV else None
    return None
