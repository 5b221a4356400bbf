"""Rate limits, and the redirection of arriving packets. Loaded where a rate is set."""

from __future__ import annotations

from errno import ENODEV, ENOENT

from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel import token_bucket
from cni_cnm.kernel.netlink.header import CREATE_NEW
from cni_cnm.kernel.rtnetlink import tc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel.contract.link import Bucket, Rate
    from cni_cnm.kernel.rtnetlink.connection import Connection


def limit(connection: Connection, index: int, rate: Rate, mtu: int) -> None:
    set_bucket(connection, index, token_bucket.bucket(rate, mtu))


def set_bucket(connection: Connection, index: int, bucket: Bucket) -> None:
    sentence = f"limiting {connection.name(index)} to {bucket.rate * 8} bit/s"
    feature = "token bucket filter (sch_tbf)"
    connection.control(tc.root(index, bucket), tc.RTM_NEWQDISC, sentence, flags=tc.REPLACE, feature=feature)


def remove_limit(connection: Connection, index: int) -> None:
    """ENOENT if there is none."""
    sentence = f"removing the rate limit of {connection.name(index)}"
    connection.control(tc.place(index, tc.ROOT), tc.RTM_DELQDISC, sentence)


def rate(connection: Connection, index: int) -> Rate | None:
    found = bucket(connection, index)
    return token_bucket.rate(found) if found is not None else None


def bucket(connection: Connection, index: int) -> Bucket | None:
    """None also if there is no such link.

    One discipline is asked for: a list is of all links, whichever is named. The kernel treats the question as a change:
    it echoes the discipline, unless that is one of its own, and acknowledges.
    """
    sentence = f"looking for the rate limit of {connection.name(index)}{connection.place}"
    try:
        found = connection.socket.echo(tc.place(index, tc.ROOT), tc.RTM_GETQDISC, sentence)
    except KernelError as error:
        if error.errno not in (ENODEV, ENOENT):
            raise
        return None
    return tc.bucket(*found) if found else None


def redirect_ingress(connection: Connection, index: int, to: int) -> None:
    sentence = f"redirecting what arrives at {connection.name(index)} to {connection.name(to)}"
    connection.control(
        tc.ingress(index), tc.RTM_NEWQDISC, sentence, flags=tc.CREATE, feature="ingress discipline (sch_ingress)"
    )
    for kind in tc.FILTERS:
        request = tc.redirect(index, to, kind)
        feature = "filter that matches all packets (cls_u32)"
        try:
            connection.control(request, tc.RTM_NEWTFILTER, sentence, flags=CREATE_NEW, feature=feature)
            return
        except KernelFeatureMissing:
            if kind == tc.FILTERS[-1]:
                raise


def remove_redirection(connection: Connection, index: int) -> None:
    """ENOENT if there is none."""
    sentence = f"removing the redirection of {connection.name(index)}"
    connection.control(tc.place(index, tc.INGRESS), tc.RTM_DELQDISC, sentence)


def redirected(connection: Connection, index: int) -> int:
    """Index of the target, 0 if there is none."""
    sentence = f"looking for the redirection of {connection.name(index)}{connection.place}"
    found = connection.socket.dump(tc.filters(index), tc.RTM_GETTFILTER, sentence, tc.target)
    return next((to for to in found if to), 0)
