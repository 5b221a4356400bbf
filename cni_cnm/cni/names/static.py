"""The plugin `static`."""

from __future__ import annotations

from cni_cnm.cni.names.ipam_plugin import verbs

VERBS = verbs("static")
