"""A gator on each store that needs no server, and what the tasks left behind."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import Gator

from . import functions


@pytest.fixture(params=["locmem", "sqlite"])
def conn_string(request: pytest.FixtureRequest) -> str:
    """A store of its own for each test."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_dsn"))
    return f"locmem://{uuid4()}"


@pytest.fixture
def gator(conn_string: str) -> Iterator[Gator]:
    gator = Gator(conn_string)
    yield gator
    gator.close()


@pytest.fixture
def journal() -> list[Any]:
    """What tasks and hooks write into, empty."""
    functions.journal.clear()
    return functions.journal
