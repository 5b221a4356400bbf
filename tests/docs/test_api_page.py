"""docs/api.md is what the docstrings say."""

from __future__ import annotations

from tests.docs import api_page


def test_the_page_is_current() -> None:
    """Otherwise: python -m tests.docs.api_page."""
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page()
