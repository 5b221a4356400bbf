"""What a host says of itself: one annotation of its Node.

    cni-cnm/underlay: {"instance": "…32 hex digits…", "addresses": ["192.0.2.11"], "mac": "…", "network": "pods",
                       "vni": 4096, "port": 4799, "direct": "auto"}

It is written by the agent, and who may write the Node's status can write it, too: reading checks each value.
"""

from __future__ import annotations

import json

from cni_cnm import validate
from cni_cnm.cluster import rules, value_json
from cni_cnm.cluster.values import FIRST_VNI, VXLAN_PORT
from cni_cnm.errors import DecodeFailed
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster.values import ClusterHost, Direct

ANNOTATION = "cni-cnm/underlay"
VNI = FIRST_VNI
"""Of the one network."""


class Terms(NamedTuple):
    """What all hosts of the network must have in common."""

    network: str
    """Its name."""
    vni: int
    port: int
    direct: Direct

    def __str__(self) -> str:
        return f"network {self.network} with VNI {self.vni}, port {self.port} and direct {self.direct}"


class Announcement(NamedTuple):
    host: ClusterHost
    terms: Terms


def text(host: ClusterHost, terms: Terms) -> str:
    """The annotation's value."""
    said = json.loads(value_json.host_json(host))
    return json.dumps({**said, **terms._asdict()}, separators=(",", ":"))


def read(node: str, content: str) -> Announcement:
    """DecodeFailed names the value and the rule. Unknown keys are ignored: a later version may write more."""
    where = f"the annotation {ANNOTATION} of Node {node}"
    data = content.encode(errors="replace")
    host = value_json.host(node, data, where)
    fields = value_json.fields_of(data, where)
    if "vni" not in fields:
        raise DecodeFailed(f"{fields.name('vni')} is missing")
    terms = Terms(
        fields.required("network", validate.network_name),
        fields.whole("vni", 0, 1, rules.LAST_VNI),
        fields.whole("port", VXLAN_PORT, 1, 0xFFFF),
        fields.parsed("direct", rules.direct) or "auto",
    )
    return Announcement(host, terms)
