"""Runs first in the bundle: switches off the check of annotations.

`NamedTuple` compiles the text of every annotation to check that it could be a type, an eighth of the time to load the
program. mypy has checked them, and nothing reads them at run time.
"""

import typing

typing._type_check = lambda annotation, *_, **__: annotation  # noqa: SLF001 - there is no public switch
