"""Files of a test's own folder, and the texts in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def put(folder: Path, file: str, network: str, *entries: dict[str, Any], **listed: Any) -> str:
    """A list with these plugins, or with ours alone; its path."""
    path = folder / file
    plugins = list(entries) or [{"type": "cni-cnm"}]
    document = {"cniVersion": "1.0.0", "name": network, "plugins": plugins, **listed}
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return str(path)
