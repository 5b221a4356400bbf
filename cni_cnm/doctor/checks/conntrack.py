"""The table of tracked connections: when it is full, new connections are dropped."""

from __future__ import annotations

from cni_cnm.doctor.commands import sysctl
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_COUNT, _MAX = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
_PERCENT = 90


def look(picture: Picture) -> Iterator[Finding]:
    count, limit = (int(picture.stack.sysctl(key) or 0) for key in (_COUNT, _MAX))
    if limit and count * 100 >= limit * _PERCENT:
        yield Finding(
            f"the kernel tracks {count} connections of at most {limit}",
            "When the table is full, every new connection of every container is dropped.",
            (sysctl(_MAX, str(limit * 2)),),
            about=_MAX,
        )
