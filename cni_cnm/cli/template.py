"""What `--format` takes: `{{.Field}}` in any text, `table` before fields, or `json`. As Docker's."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

from cni_cnm import spelling
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


class Template(NamedTuple):
    texts: Sequence[str] = ()
    """Before, between and after the fields: one more than fields."""
    fields: Sequence[str] = ()
    table: bool = False
    """A table of the fields, with headers."""
    json: bool = False
    """A JSON object with every field, on one line."""

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> Template:
        r"""Read a template; `\t` and `\n` stand for a tab and a new line.

        Raises:
            argparse.ArgumentTypeError: it has a field that is not known, or more of Go's templates than fields.
        """
        if text == "json":
            return cls(json=True)
        table = text.startswith("table ")
        body = text.removeprefix("table ").replace("\\t", "\t").replace("\\n", "\n")
        parts = re.split(r"\{\{\s*\.(\w+)\s*\}\}", body)
        texts, fields = parts[::2], parts[1::2]
        for part in texts:
            if "{{" in part or "}}" in part:
                raise ArgumentTypeError(f"only {{{{.Field}}}} is understood between braces; fields: {', '.join(known)}")
        for field in fields:
            if field not in known:
                raise ArgumentTypeError(f"there is no field {field!r} ({spelling.hint(field, list(known))})")
        if not fields:
            raise ArgumentTypeError(f"{text!r} has no field, such as {{{{.{next(iter(known))}}}}}")
        return cls(texts, fields, table)

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with the value of each field."""
        return self.texts[0] + "".join(
            value(field) + text for field, text in zip(self.fields, self.texts[1:], strict=True)
        )
