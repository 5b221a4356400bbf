"""The manifests of conf/kubernetes, as objects."""

from __future__ import annotations

from typing import Any, TypeAlias

import yaml

from tests.program import ROOT

Object: TypeAlias = dict[str, Any]
FOLDER = ROOT / "conf" / "kubernetes"


def objects(name: str) -> list[Object]:
    """Of the file conf/kubernetes/NAME.yaml, in order."""
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def of_kind(name: str, kind: str) -> Object:
    """The one of that kind."""
    (found,) = (one for one in objects(name) if one["kind"] == kind)
    return found
