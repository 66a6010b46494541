"""The SQL is what it was when somebody last read it."""

import difflib

import pytest

from .regenerate import COMMAND, golden, path


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_the_statements_are_those_of_the_golden_file(database):
    was, is_now = path(database).read_text(encoding="utf-8"), golden(database)
    changes = difflib.unified_diff(was.splitlines(), is_now.splitlines(), lineterm="", n=1)
    difference = "\n".join(changes)
    assert was == is_now, f"The SQL has changed. If it was to, run: {COMMAND}\n{difference}"
