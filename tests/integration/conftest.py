"""Workers to start, and applications on Alligator 1.0 with their stores."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.compat import tasks

from .alligator_one import Old
from .processes import WITH_CHANGES, Files, Process


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def start(tmp_path, dsn) -> Iterator[Callable[..., Process]]:
    """Start a worker, by default for the store of the module's fixture ``dsn``."""
    processes: list[Process] = []

    def start(*arguments: str, **options: Any) -> Process:
        log = tmp_path / f"worker-{len(processes)}.log"
        processes.append(Process(log, options.pop("dsn", dsn), *arguments, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def changed(tmp_path) -> Callable[[str], str]:
    """Return a folder for the path of workers that get other settings by an assignment."""

    def changed(assignment: str) -> str:
        folder = tmp_path / "changed"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WITH_CHANGES.format(assignment))
        return str(folder)

    return changed


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
