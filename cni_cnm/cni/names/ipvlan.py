"""The plugin `ipvlan`. Behind another plugin it takes that one's interface for its parent, and its addresses."""

from __future__ import annotations

from cni_cnm.cni.names.interface_plugin import verbs
from cni_cnm.drivers.parent_link_options import REFERENCE_ONLY
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import Json


def _behind(given: Mapping[str, Json]) -> Mapping[str, Json]:
    """With the parent and the addresses of `prevResult`, where the configuration names none."""
    config = Fields(given)
    previous = config.object("prevResult")
    if not config.mapping("prevResult"):
        return given
    found = dict(given)
    if not config.text("master"):
        links = previous.objects("interfaces")
        if len(links) != 1 or not links[0].text("name"):
            raise InvalidConfig(
                "chained master failure. PrevResult lacks a single named interface", hint="name the parent as master"
            )
        found["master"] = links[0].text("name")
    if not config.object("ipam").text("type") and previous.objects("ips"):
        addresses = [
            {"address": one.text("address"), "gateway": one.text("gateway")} for one in previous.objects("ips")
        ]
        found = {key: value for key, value in found.items() if key.lower() != "ipam"}
        found["ipam"] = {"type": "static", "addresses": addresses, "routes": list(previous.items("routes"))}
        found.setdefault("dns", previous.raw("dns"))
    return found


VERBS = verbs("ipvlan", (*REFERENCE_ONLY["ipvlan"], "mtu"), prepare=_behind)
