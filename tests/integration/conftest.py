"""Applications on Alligator 1.0, with their stores."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.compat import tasks

from .alligator_one import Old


@pytest.fixture(params=["sqlite", "redis"])
def old(request, tmp_path) -> Iterator[Old]:
    """An old application on each store that is moved from."""
    if request.param == "sqlite":
        dsn = f"sqlite:///{tmp_path}/old.db"
    else:
        dsn = request.getfixturevalue("own_redis_server").dsn()
    with closing(Old(dsn)) as application:
        yield application


@pytest.fixture
def old_sqlite(tmp_path) -> Iterator[Old]:
    with closing(Old(f"sqlite:///{tmp_path}/old.db")) as application:
        yield application


@pytest.fixture
def old_redis(redis_dsn) -> Iterator[Old]:
    with closing(Old(redis_dsn)) as application:
        yield application


@pytest.fixture
def journal() -> list[Any]:
    """What the tasks write into, empty."""
    tasks.journal.clear()
    return tasks.journal
