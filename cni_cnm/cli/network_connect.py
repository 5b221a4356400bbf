"""`cni-cnm network connect` and `disconnect`: one more network for a container that runs."""

from __future__ import annotations

from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


def configure(verbs: Any) -> None:
    pass
