"""tests/unit has the folders of the package, and each file there is named after the module it tests.

tests/unit/PACKAGE/test_MODULE.py             tests cni_cnm/PACKAGE/MODULE.py
tests/unit/PACKAGE/test_MODULE_ASPECT.py      one aspect of it, where one file would be too long
"""

from __future__ import annotations

import pytest

from tests.program import ROOT

UNIT = ROOT / "tests" / "unit"
PACKAGE = ROOT / "cni_cnm"
OF_THE_WHOLE_PACKAGE = (
    "test_hints.py",
    "test_import_circles.py",
    "test_layout.py",
    "test_public_api.py",
)
TESTS = sorted(path.relative_to(UNIT) for path in UNIT.rglob("test_*.py") if path.name not in OF_THE_WHOLE_PACKAGE)


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_unit_tests_mirror_the_package(test: object) -> None:
    """Every test file stands in the folder of a package and begins with the name of one of its modules."""
    path = UNIT / str(test)
    package = PACKAGE / path.parent.relative_to(UNIT)
    modules = {module.stem for module in package.glob("*.py")} | {
        module.parent.name for module in package.glob("*/__init__.py")
    }
    name = path.stem.removeprefix("test_")
    assert any(name == module or name.startswith(f"{module}_") for module in modules), (
        f"{package.relative_to(ROOT)} has no module that {path.relative_to(ROOT)} is named after"
    )
