"""The parser of every noun and verb: argparse's, with the word that was probably meant where one is misspelled."""

from __future__ import annotations

import argparse

from cni_cnm import spelling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Exit with 2, because of arguments that no verb has taken."""
        options = (word.partition("=")[0] for word in unknown if word.startswith("-"))
        near = next(filter(None, (spelling.meant(one, self._option_string_actions) for one in options)), "")
        self.error(f"unknown arguments: {' '.join(unknown)}{f' (did you mean {near}?)' if near else ''}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, f"{value!r} is unknown ({spelling.hint(str(value), words)})")
