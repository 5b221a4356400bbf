"""Text from outside as one line of a log, of stderr or of an error object."""

from __future__ import annotations

LIMIT = 2000
"""Characters."""


def one_line(text: str, limit: int = LIMIT) -> str:
    """One line of bounded length that every stream accepts. Hostile text cannot add a second line to a log."""
    if len(text) <= limit and text.isprintable():
        return text
    safe = text.encode(errors="backslashreplace").decode()
    flat = "".join(character if character.isprintable() else repr(character)[1:-1] for character in safe)
    return flat if len(flat) <= limit else f"{flat[:limit]}…"
