"""Whether a reference plugin certainly has nothing of a container, where that is cheap to see: no DEL of it is called.

bridge, ptp, …    the container has no such interface (bridge with macspoofchk also has rules of its name)
portmap           no ports are requested: its DEL does nothing then
firewall          there is no result: its DEL does nothing then
bandwidth         the host has no such ifb
tuning            no attributes are saved
sbr               the namespace is gone
"""

from __future__ import annotations

import os

from cni_cnm.reference import names, saved_tuning
from cni_cnm.reference.configuration import Tuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields
    from cni_cnm.kernel import Namespaces
    from cni_cnm.model import EndpointKey

INTERFACE = ("bridge", "ptp", "macvlan", "ipvlan", "host-device")


def is_untouched(plugin: str, key: EndpointKey, netns: str, config: Fields, namespaces: Namespaces) -> bool:
    """CnmError where it cannot be seen. `netns`: the path of the container's namespace; "" if there is none."""
    if plugin == "portmap":
        return not config.object("runtimeConfig").raw("portMappings")
    if plugin == "firewall":
        return not config.mapping("prevResult")
    if plugin == "tuning":
        return not os.path.lexists(saved_tuning.path(key, config.text("dataDir") or Tuning().data_dir))
    if plugin == "bandwidth":
        with namespaces.host() as host:
            return host.link(names.ifb(key)) is None
    if plugin in INTERFACE and netns and not config.flag("macspoofchk"):
        with namespaces.open(netns) as container:
            return container.link(key.ifname) is None
    return plugin in ("sbr", *INTERFACE) and not netns
