"""The plugin `ptp`."""

from __future__ import annotations

from cni_cnm.cni.names.interface_plugin import verbs
from cni_cnm.drivers.ptp_options import REFERENCE_KEYS

VERBS = verbs("ptp", (*REFERENCE_KEYS, "mtu"))
