"""What the tasks left behind."""

from typing import Any

import pytest

from . import functions


@pytest.fixture
def journal() -> list[Any]:
    """What tasks and hooks write into, empty."""
    functions.journal.clear()
    return functions.journal
