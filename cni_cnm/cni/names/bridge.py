"""The plugin `bridge`."""

from __future__ import annotations

from cni_cnm.cni.names.interface_plugin import MACS, verbs
from cni_cnm.drivers.bridge_options import REFERENCE_KEYS

VERBS = verbs("bridge", (*REFERENCE_KEYS, "mtu"), macs=MACS)
