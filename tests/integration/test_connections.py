"""The connections that are ours: which are refused, what they ask for, and when they end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

from alligator_sql import Gator, coroutines
from alligator_sql.backends.sql import engines, spare
from alligator_sql.exceptions import (
    InvalidOptionError,
    StoreUnavailableError,
    UnknownBackendError,
    Unsupported,
)
from alligator_sql.workers.worker import Worker
from tests.helpers import PATIENCE, Background, wait_until

from . import tasks
from .commands import environment
from .processes import PROJECT

SPAWN = """
import sys
from multiprocessing import get_context

from tests.integration import preloaded

if __name__ == "__main__":
    done = sys.argv[1]
    preloaded.serve(done, "parent")
    spawn = get_context("spawn")
    children = [spawn.Process(target=preloaded.serve, args=(done, f"child-{n}")) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    sys.exit(max(child.exitcode for child in children))
"""
CHILDREN = 4
TASKS_OF_A_CHILD = 100


class TestRefusals:
    def test_a_schema_on_sqlite(self, sqlite_dsn):
        with pytest.raises(InvalidOptionError, match="SQLite has no schemas: use a prefix"):
            Gator(sqlite_dsn, schema="queue")

    @pytest.mark.parametrize(
        "driver",
        [
            "postgresql+psycopg2",
            "postgresql+asyncpg",
            "postgresql+psycopg_async",
            "sqlite+aiosqlite",
        ],
    )
    def test_other_drivers(self, driver):
        with pytest.raises(UnknownBackendError) as refused:
            Gator(f"{driver}://user:secret@host/database")
        assert str(refused.value) == (
            f"{driver}:// is not supported: use postgresql://user@host/database, with psycopg 3; "
            "or sqlite:///tasks.db, with Python's own sqlite3."
        )

    @pytest.mark.parametrize("option", ["prefix", "schema", "engine"])
    def test_options_that_a_backend_class_does_not_get(self, option):
        options: dict[str, Any] = {option: "x"}
        if option != "engine":
            options["conn_string"] = "list://"
        with pytest.raises(Unsupported, match=f"^{option}: a backend_class gets only"):
            Gator(backend_class=lambda conn: object(), **options)


class TestKeepalive:
    def test_a_silent_server_is_noticed_within_half_a_minute(self, postgres18_dsn):
        found = self._parameters(postgres18_dsn)
        assert {name: found[name] for name in engines.KEEPALIVE} == {
            "keepalives_idle": "15",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": "10000",
        }

    def test_the_url_has_the_last_word(self, postgres18_dsn):
        sign = "&" if "?" in postgres18_dsn else "?"
        found = self._parameters(f"{postgres18_dsn}{sign}keepalives_idle=99&tcp_user_timeout=7")
        assert (found["keepalives_idle"], found["tcp_user_timeout"]) == ("99", "7")
        assert found["keepalives_count"] == "3"

    def _parameters(self, dsn: str) -> dict[str, str]:
        engine = engines.create(dsn)
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            found = {
                option.keyword.decode(): option.val.decode()
                for option in driver.pgconn.info
                if option.val is not None
            }
        engine.dispose()
        return found


def test_an_exhausted_pool_is_a_store_that_does_not_answer(postgres18_dsn):
    engine = create_engine(
        postgres18_dsn.replace("postgresql:", "postgresql+psycopg:"),
        pool_size=1, max_overflow=0, pool_timeout=0.1,
    )  # fmt: skip
    gator = Gator(engine=engine)
    gator.open()
    with engine.connect():
        with pytest.raises(StoreUnavailableError, match="pool_size"):
            gator.task(tasks.echo, 1)
        with pytest.raises(StoreUnavailableError, match="pool_size"):
            gator.store.listen(["all"], 0)
    gator.task(tasks.echo, 2)
    assert gator.pop() == 2
    engine.dispose()


class TestListeners:
    def test_of_a_worker_end_with_it(self, postgres18_dsn):
        gator = Gator(postgres18_dsn)
        listening = "select count(*) from pg_stat_activity where query like 'listen%'"
        with psycopg.connect(postgres18_dsn, autocommit=True) as observer:

            def listeners() -> int:
                [(count,)] = observer.execute(listening).fetchall()
                return int(count)

            worker = Worker(gator)
            running = Background(worker.run_forever)
            wait_until(lambda: listeners() == 1)
            worker.stop()
            assert running.result() == 0
            wait_until(lambda: listeners() == 0)
        gator.close()

    def test_of_other_threads_stay(self, sqlite_dsn):
        gator = Gator(sqlite_dsn)
        gator.store.listen(["all"], 0)

        def listen_elsewhere() -> None:
            gator.store.listen(["all"], 0)
            gator.store.unlisten()

        Background(listen_elsewhere).result()
        assert not gator.store.listen(["all"], 0)  # a new listener would have news at once
        gator.store.unlisten()
        assert gator.store.listen(["all"], 0)
        gator.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestFork:
    @pytest.mark.parametrize("database", ["postgres18_dsn", "sqlite_dsn"])
    def test_a_used_gator_works_in_several_children_and_on_in_the_parent(self, request, database):
        gator = Gator(request.getfixturevalue(database))
        gator.task(tasks.echo, "parent")
        gator.store.listen(["all"], 0)
        children = [_forked(gator, child) for child in range(CHILDREN)]
        for _ in range(TASKS_OF_A_CHILD):
            gator.task(tasks.echo, "parent")
        for child in children:
            assert _end_of(child) == 0
        assert gator.len() == 1 + (CHILDREN + 1) * TASKS_OF_A_CHILD
        gator.store.listen(["all"], 0)  # its connection is still good
        gator.close()

    def test_a_child_has_a_connection_and_listeners_of_its_own(self, postgres18_dsn):
        gator = Gator(postgres18_dsn)
        gator.store.listen(["all"], 0)

        def server_process() -> object:
            with gator.store._connections.statement() as connection:  # type: ignore[attr-defined]
                return connection.exec_driver_sql("select pg_backend_pid()").scalar()

        of_parent = server_process()
        child = os.fork()
        if child == 0:
            try:
                is_news = gator.store.listen(["all"], 0)  # as the first call always says
                os._exit(0 if is_news and server_process() != of_parent else 2)
            finally:  # never back into pytest
                os._exit(1)
        assert _end_of(child) == 0
        assert server_process() == of_parent
        gator.close()

    def test_while_another_thread_writes_to_sqlite(self, sqlite_dsn):
        """The child has no thread that could give the lock of the writers back."""
        gator = Gator(sqlite_dsn)
        gator.open()
        with gator.store._connections._writing:  # type: ignore[attr-defined]
            child = _forked(gator, 1)
        assert _end_of(child) == 0
        assert gator.len() == TASKS_OF_A_CHILD
        gator.close()

    def test_a_child_leaves_the_connection_of_the_parent_alone(self, sqlite_dsn):
        """Another thread may put it back when the others are closed already."""
        with closing(Gator(sqlite_dsn)) as gator:
            gator.task(tasks.echo, 1)
            connections: Any = gator.store._connections  # type: ignore[attr-defined]
            [of_parent] = connections._spare._idle
            connections._in_child()
            assert of_parent in spare._forgotten
            gator.task(tasks.echo, 2)
            [own] = connections._spare._idle
            assert own is not of_parent
            assert gator.len() == 2

    def test_while_another_thread_looks_for_the_event_loop(self):
        assert coroutines.run(asyncio.sleep(0, "parent")) == "parent"
        with coroutines._lock:
            child = os.fork()
            if child == 0:
                try:
                    os._exit(0 if coroutines.run(asyncio.sleep(0, "child")) == "child" else 2)
                finally:  # never back into pytest
                    os._exit(1)
        assert _end_of(child) == 0

    def test_the_engine_of_an_application_is_its_own_affair(self, postgres18_dsn):
        engine = create_engine(postgres18_dsn.replace("postgresql:", "postgresql+psycopg:"))
        gator = Gator(engine=engine)
        gator.open()
        pool = engine.pool
        child = os.fork()
        if child == 0:
            os._exit(0 if engine.pool is pool else 1)
        assert _end_of(child) == 0
        gator.close()
        engine.dispose()


class TestPreloaded:
    """The gator is a global of an application that is loaded once and served by many."""

    @pytest.fixture(params=["postgres18_dsn", "sqlite_dsn"])
    def dsn(self, request) -> str:
        return str(request.getfixturevalue(request.param))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_children_that_are_forked_enqueue_and_run_workers(self, dsn, tmp_path):
        done = str(tmp_path / "done")
        self._run(dsn, f"from tests.integration import preloaded as p; p.preload({done!r}, 3)")
        children = {f"child-{number}" for number in range(3)}
        assert self._lines(done) == children | {"parent", "parent-again", "parent-at-last"}

    def test_children_that_are_spawned_do_too(self, dsn, tmp_path):
        done = str(tmp_path / "done")
        program = tmp_path / "program.py"
        program.write_text(SPAWN)
        self._run(dsn, program, done)
        assert self._lines(done) == {"parent", "child-0", "child-1"}

    def _run(self, dsn: str, program: str | Path, *arguments: str) -> None:
        ended = subprocess.run(
            [sys.executable, *(["-c"] if isinstance(program, str) else []), program, *arguments],
            env=environment(ALLIGATOR_CONN=dsn, PYTHONPATH=str(PROJECT)),
            cwd=PROJECT, timeout=60, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        with closing(Gator(dsn)) as gator:
            assert gator.len() == 0

    def _lines(self, done: str) -> set[str]:
        lines = Path(done).read_text().split()
        assert len(lines) == len(set(lines))  # none ran twice
        return set(lines)


def _forked(gator: Gator, number: int) -> int:
    """Enqueue in a child of this process, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        for _ in range(TASKS_OF_A_CHILD):
            gator.task(tasks.echo, number)
        gator.store.listen(["all"], 0)
        os._exit(0)
    finally:  # never back into pytest
        os._exit(1)


def _end_of(child: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"the child did not end within {PATIENCE} s")
