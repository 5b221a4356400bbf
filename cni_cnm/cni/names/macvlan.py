"""The plugin `macvlan`."""

from __future__ import annotations

from cni_cnm.cni.names.interface_plugin import verbs
from cni_cnm.drivers.parent_link_options import REFERENCE_ONLY

VERBS = verbs("macvlan", (*REFERENCE_ONLY["macvlan"], "mtu", "mac"), macs=("CNI_ARGS", "runtimeConfig"))
