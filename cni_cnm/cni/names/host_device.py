"""The plugin `host-device`."""

from __future__ import annotations

from cni_cnm.cni.names.interface_plugin import verbs
from cni_cnm.drivers.host_device_options import REFERENCE_KEYS

VERBS = verbs("host-device", REFERENCE_KEYS, runtime=("deviceid",))
