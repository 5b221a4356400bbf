"""Run first in the bundle: no annotation is checked.

`NamedTuple` compiles the text of every annotation to see whether it could be a type: an eighth of what loading the
program takes. mypy has seen them all, and nothing reads them at run time.
"""

import typing

typing._type_check = lambda annotation, *_, **__: annotation  # noqa: SLF001 - there is no public switch
