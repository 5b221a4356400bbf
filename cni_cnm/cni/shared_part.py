"""The part of a configuration that all pods of a network bring: read once, as long as it stays the same.

What differs from pod to pod is no part of it: `runtimeConfig`, `args`, `prevResult` and the lists of GC.
"""

from __future__ import annotations

from cni_cnm.cni import request, unused_keys
from cni_cnm.memo import Memo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cni.environ import Call
    from cni_cnm.fields import Fields
    from cni_cnm.model import Json, NetworkSpec

OF_A_POD = frozenset(("runtimeconfig", "args", "prevresult", *request.VALID))
_memo: Memo[tuple[NetworkSpec, list[str], list[str]]] = Memo()


def read(document: Mapping[str, Json], config: Fields, call: Call) -> tuple[NetworkSpec, list[str], list[str]]:
    """The network, the keys of the part that are not read, and sentences about others that are not used.

    InvalidConfig as by `request.network_of`.
    """
    shared = {key: value for key, value in document.items() if key.lower() not in OF_A_POD}

    def parse() -> tuple[NetworkSpec, list[str], list[str]]:
        network = request.network_of(shared, config, call)
        ipam = network.ipam.type
        notes = [*unused_keys.notes(config, ipam), *request.portmap_of(config)[1]]
        return network, [*unused_keys.unknown(shared, config, ipam)], notes

    network, unknown, notes = _memo.get(config.text("name"), (shared,), parse)
    # An executable is given the whole configuration.
    return network._replace(ipam=network.ipam._replace(conf=document, cni_path=call.cni_path)), unknown, notes
