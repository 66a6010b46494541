"""Every fault in ``docs/reliability.md`` has tests, and each of them exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = CHECKOUT / "docs" / "reliability.md"
CONFORMANCE = "alligator_sql/testing/conformance.py::BackendConformance"
ROW = re.compile(
    r"^\| (?P<number>\d+) \| (?P<fault>[^|]+) \| (?P<answer>[^|]+) \| ?(?P<tests>[^|]*)\|$",
    re.MULTILINE,
)
ROWS = tuple(ROW.finditer(DOCUMENT.read_text(encoding="utf-8")))
FAULTS = 42


def _named_in(row: re.Match[str]) -> list[str]:
    return re.findall(r"`([^`]+)`", row["tests"])


@cache
def _defined_in(path: Path) -> frozenset[str]:
    """Return the tests of a file, as ``name`` or ``Class::name``."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = (method for method in node.body if isinstance(method, ast.FunctionDef))
            found |= {f"{node.name}::{method.name}" for method in methods}
    return frozenset(found)


def test_every_fault_is_there_once_in_its_place():
    numbers = [int(row["number"]) for row in ROWS]
    assert numbers == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= FAULTS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["number"])
def test_every_fault_has_tests_that_exist_or_a_reason(row):
    names = _named_in(row)
    assert bool(names) != row["answer"].startswith("—")
    for name in names:
        place = (
            name.replace("conformance", CONFORMANCE, 1)
            if name.startswith("conformance::")
            else f"tests/{name}"
        )
        path, _, test = place.partition("::")
        assert test.rpartition("::")[2].startswith("test_"), name
        assert test in _defined_in(CHECKOUT / path), f"{path} has no {test}"
