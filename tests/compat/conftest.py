"""What the tasks left behind."""

from typing import Any

import pytest

from . import tasks


@pytest.fixture
def journal() -> list[Any]:
    """What tasks and hooks write into, empty."""
    tasks.journal.clear()
    return tasks.journal
