from __future__ import annotations

from tests.system.fixtures import bundle

__all__ = ["bundle"]
