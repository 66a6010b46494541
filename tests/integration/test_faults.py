"""Faults of clocks, rows, files and processes that no other test is about.

``docs/reliability.md`` lists all faults with their tests.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.orm import Session

from alligator_sql import Gator, Task, Worker
from alligator_sql.backends.sql import SQLBackend, schema
from alligator_sql.exceptions import InvalidOptionError, StoreUnavailableError
from alligator_sql.messages import Claim, TaskRecord, WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded
from alligator_sql.testing.clock import advance
from tests.helpers import PATIENCE, Background, wait_until
from tests.postgres_clusters import Cluster
from tests.postgres_servers import empty
from tests.proxy import Proxy

from . import gates, tasks

HOUR = 3600.0
TTL = 300.0
MAX_CRASHES = 3
UPGRADE = "import sys; from alligator_sql.backends.sql import schema; schema.upgrade(sys.argv[1])"


@pytest.fixture(params=["postgres18_dsn", "sqlite_dsn"])
def gator(request) -> Iterator[Gator]:
    with closing(Gator(request.getfixturevalue(request.param))) as gator:
        yield gator


@pytest.fixture
def postgres18_gator(postgres18_dsn) -> Iterator[Gator]:
    with closing(Gator(postgres18_dsn)) as gator:
        yield gator


@pytest.fixture
def sqlite_gator(sqlite_dsn) -> Iterator[Gator]:
    with closing(Gator(sqlite_dsn)) as gator:
        yield gator


def backend_of(gator: Gator) -> SQLBackend:
    assert isinstance(gator.store, SQLBackend)
    return gator.store


def join(gator: Gator) -> WorkerRecord:
    worker = WorkerRecord(uuid4(), "host", os.getpid(), ("all",), TTL)
    assert gator.store.heartbeat(worker, first=True)
    return worker


def claim(gator: Gator, worker: WorkerRecord) -> list[Claim]:
    return gator.store.claim(["all"], 10, worker.id, thorough=True, begins=True)


def found(gator: Gator, task: Task) -> TaskRecord:
    record = gator.find(task.task_id)
    assert record is not None
    return record


class TestClocks:
    @pytest.mark.parametrize("shift", [HOUR, -HOUR], ids=["ahead", "behind"])
    def test_that_of_the_application_decides_nothing(self, gator, monkeypatch, shift):
        old = join(gator)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + shift)
        with gator.options(delay_by=60) as options:
            delayed = options.task(tasks.add, 1, 2)
        due = gator.task(tasks.add, 3, 4)
        new = join(gator)
        assert [str(one.id) for one in claim(gator, new)] == [due.task_id]
        monkeypatch.undo()
        soon = datetime.now(UTC) + timedelta(seconds=60)
        assert abs(found(gator, delayed).run_at - soon) < timedelta(seconds=PATIENCE)
        assert gator.store.rescue(MAX_CRASHES) == []
        assert gator.store.heartbeat(old)
        assert gator.store.heartbeat(new)

    def test_that_of_the_database_jumps_ahead(self, gator):
        task = gator.task(tasks.add, 1, 2)
        worker = join(gator)
        (old,) = claim(gator, worker)
        advance(backend_of(gator), HOUR)
        assert not gator.store.heartbeat(worker)
        assert gator.store.rescue(MAX_CRASHES) == [old.id]
        (new,) = claim(gator, join(gator))
        assert gator.store.ack([Settlement(old, Succeeded())]) == set()
        assert gator.store.ack([Settlement(new, Succeeded())]) == {new.id}
        assert (found(gator, task).attempts, found(gator, task).crashes) == (2, 1)

    def test_that_of_the_database_jumps_back(self, gator):
        gator.task(tasks.add, 1, 2)
        (held,) = claim(gator, join(gator))
        advance(backend_of(gator), -HOUR)
        assert gator.store.rescue(MAX_CRASHES) == []
        advance(backend_of(gator), HOUR + 2 * TTL)
        assert gator.store.rescue(MAX_CRASHES) == [held.id]


class TestRowsOfOthers:
    """Rows that we never write, but that somebody with a SQL prompt can."""

    @pytest.mark.parametrize("moment", ["infinity", "20000-01-01"])
    def test_a_due_time_beyond_all_others_is_never_due(self, postgres18_gator, moment):
        odd = postgres18_gator.task(tasks.add, 1, 2)
        set_due_time(postgres18_gator, odd, moment)
        assert postgres18_gator.store.due_in(["all"]) is None
        with postgres18_gator.options(delay_by=1) as options:
            sound = options.task(tasks.add, 3, 4)
        assert Worker(postgres18_gator, max_tasks=1).run_forever() == 0
        assert found(postgres18_gator, sound).status_name == "success"
        assert postgres18_gator.len() == 1

    @pytest.mark.parametrize("moment", ["-infinity", "4713-01-01 BC"])
    def test_a_due_time_before_all_others_is_due(self, postgres18_gator, moment):
        odd = postgres18_gator.task(tasks.add, 1, 2)
        set_due_time(postgres18_gator, odd, moment)
        sound = postgres18_gator.task(tasks.add, 3, 4)
        assert Worker(postgres18_gator, max_tasks=2).run_forever() == 0
        assert found(postgres18_gator, sound).status_name == "success"
        assert postgres18_gator.len() == 0


def set_due_time(gator: Gator, task: Task, moment: str) -> None:
    backend = backend_of(gator)
    change = f"update {backend.names.table('tasks')} set run_at = :moment where id = :id"
    with backend.engine.begin() as connection:
        connection.execute(text(change), {"moment": moment, "id": task.task_id})


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            'a"b',
            "a'b",
            "a;drop table x",
            "a-b",
            "a b",
            "1a",
            "A",
            "é",
            "a" * 41,
            "",
            "a.b",
            "%s",
            ":x",
        ],
    )
    def test_only_plain_ones_stand_in_statements(self, name):
        with pytest.raises(InvalidOptionError, match="cannot be a table prefix or a schema"):
            Gator("postgresql://localhost/nowhere", prefix=name)
        with pytest.raises(InvalidOptionError, match="cannot be a table prefix or a schema"):
            Gator("postgresql://localhost/nowhere", schema=name)


class TestMigrations:
    def test_one_that_is_killed_half_way_is_done_again(self, empty_postgres_dsn):
        schema.upgrade(empty_postgres_dsn, "0001")
        with psycopg.connect(empty_postgres_dsn) as holder:
            holder.execute("lock table alligator_finished in access exclusive mode")
            process = subprocess.Popen([sys.executable, "-c", UPGRADE, empty_postgres_dsn])
            with psycopg.connect(empty_postgres_dsn, autocommit=True) as observer:
                wait_until(
                    lambda: observer.execute(
                        "select 1 from pg_locks where not granted and locktype = 'relation'"
                    ).fetchone()
                )
                process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE)
        schema.upgrade(empty_postgres_dsn)
        with closing(Gator(empty_postgres_dsn)) as gator:
            gator.task(tasks.add, 1, 2)
            assert Worker(gator, max_tasks=1).run_forever() == 0


@contextmanager
def working(gator: Gator, **options: Any) -> Iterator[Background]:
    worker = Worker(gator, **options)
    thread = Background(worker.run_forever)
    try:
        yield thread
    finally:
        gates.current.opened.set()
        worker.stop()
        assert thread.result() == 0


@pytest.fixture(scope="module")
def cluster(postgres18_server) -> Iterator[Cluster]:
    """A server at a port, for a network that fails."""
    with Cluster.like(postgres18_server) as cluster:
        schema.upgrade(cluster.dsn())
        yield cluster


@pytest.fixture
def near(cluster) -> Iterator[Gator]:
    """A gator that no trouble of the network concerns, on an empty database."""
    gates.reset()
    empty(cluster.dsn())
    with closing(Gator(cluster.dsn())) as gator:
        yield gator
    gates.reset()


@pytest.fixture
def proxy(cluster) -> Iterator[Proxy]:
    with Proxy(cluster.port) as proxy:
        yield proxy


@pytest.fixture
def far(cluster, proxy) -> Iterator[Gator]:
    """A gator behind a network that fails."""
    with closing(Gator(cluster.dsn(proxy.port))) as gator:
        gator.open()
        yield gator


@pytest.fixture
def far_engine(cluster, proxy) -> Iterator[Gator]:
    """A gator behind a network that fails, on an engine of the application: it uses transactions,
    whose commits are events."""
    url = make_url(cluster.dsn(proxy.port)).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with closing(Gator(engine=engine)) as gator:
        gator.open()
        yield gator
    engine.dispose()


class TestLostAnswers:
    """The server commits, and the network loses what it answers."""

    def test_to_the_commit_of_an_outcome(self, near, far_engine, proxy):
        task = near.task(gates.gate, "once")
        with working(far_engine) as thread:
            assert gates.current.entered.wait(PATIENCE)
            self._lose_commit(far_engine, proxy, thread, "select 1 from alligator_finished")
            gates.current.opened.set()
            self._recover(proxy, lambda: found(near, task).status_name == "success")
            near.task(gates.quick, "later")
            wait_until(lambda: "later" in gates.current.ran)
        assert gates.current.ran == ["once", "later"]
        assert (found(near, task).attempts, found(near, task).crashes) == (1, 0)

    def test_to_the_commit_of_a_claim(self, near, far_engine, proxy):
        with working(far_engine) as thread:
            self._lose_commit(
                far_engine, proxy, thread, "select 1 from alligator_tasks where status = 6"
            )
            task = near.task(gates.quick, "once")
            self._recover(proxy, lambda: found(near, task).status_name == "running")
            wait_until(lambda: found(near, task).status_name == "success")
        assert gates.current.ran == ["once"]
        assert (found(near, task).attempts, found(near, task).crashes) == (1, 0)

    def _lose_commit(self, gator: Gator, proxy: Proxy, thread: Background, query: str) -> None:
        """Lose the answer to the first commit of ``thread`` at which ``query`` finds a row."""
        lost: list[bool] = []

        @event.listens_for(backend_of(gator).engine, "commit")
        def lose(connection: Connection) -> None:
            if (
                threading.current_thread() is thread
                and not lost
                and connection.exec_driver_sql(query).first()
            ):
                lost.append(True)
                proxy.swallow("answers")

    def _recover(self, proxy: Proxy, committed: Callable[[], bool]) -> None:
        wait_until(committed)
        assert proxy.swallowing.wait(PATIENCE)
        proxy.swallow()
        proxy.reset()


class TestPartitions:
    def test_longer_than_the_lease(self, near, far, proxy):
        task = near.task(gates.gate, "twice")
        with working(far, lease=8.0):
            assert gates.current.entered.wait(PATIENCE)
            proxy.stall()
            with working(near):
                wait_until(lambda: found(near, task).attempts == 2)
                second = found(near, task).worker_id
                gates.current.opened.set()
                wait_until(lambda: found(near, task).status_name == "success")
            proxy.flow()
            near.task(gates.quick, "later")
            wait_until(lambda: "later" in gates.current.ran)
        record = found(near, task)
        assert (record.status_name, record.worker_id) == ("success", second)
        assert (record.attempts, record.crashes) == (2, 1)

    def test_shorter_than_the_lease(self, near, far, proxy):
        task = near.task(gates.gate, "once")
        with working(far), working(near, to_consume="nothing"):
            assert gates.current.entered.wait(PATIENCE)
            proxy.stall()
            gates.current.opened.set()
            wait_until(lambda: "once" in gates.current.ran)
            proxy.flow()
            wait_until(lambda: found(near, task).status_name == "success")
        assert (found(near, task).attempts, found(near, task).crashes) == (1, 0)


class TestNotifications:
    def test_there_may_be_no_room_for_them(self, cluster, near, caplog):
        """Somebody listens and never ends a transaction: the server can keep no more for it."""
        caplog.set_level("WARNING", "alligator_sql")
        cluster.execute("alter system set max_notify_queue_pages = 64")
        cluster.stop()
        cluster.start()
        fill = "select pg_notify('news', lpad(n::text, 7000)) from generate_series(1, 1000) n"
        with psycopg.connect(cluster.dsn(), autocommit=True) as listener:
            listener.execute("listen news")
            listener.execute("begin")
            listener.execute("select 1")
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                cluster.execute(fill)
            engine = create_engine(cluster.dsn().replace("postgresql:", "postgresql+psycopg:"))
            with (
                closing(Gator(cluster.dsn())) as joining,
                Session(engine) as session,
                session.begin(),
            ):
                joining.using(session).task(tasks.echo, "stored")
            engine.dispose()
            with near.options(keep_result=True) as options:
                task = options.task(tasks.add, 1, 2)
            with closing(Gator(cluster.dsn())) as other, working(other):
                assert near.result(task.task_id, PATIENCE) == 3
        assert caplog.text.count("queue of notifications is full") == 3  # each gator says it


class TestSQLiteFiles:
    def test_a_reader_that_does_not_end_holds_up_nobody(self, sqlite_gator, sqlite_file):
        sqlite_gator.task(tasks.add, 1, 2)
        with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as reader:
            reader.execute("begin")
            before = reader.execute("select count(*) from alligator_tasks").fetchone()
            sqlite_gator.task(tasks.add, 3, 4)
            assert Worker(sqlite_gator, max_tasks=2).run_forever() == 0
            assert sqlite_gator.len() == 0
            assert reader.execute("select count(*) from alligator_tasks").fetchone() == before

    def test_a_truncated_file_is_told(self, sqlite_dsn, sqlite_file):
        with closing(Gator(sqlite_dsn)) as gator:
            gator.map(tasks.echo, ["x" * 1000] * 100)
        os.truncate(sqlite_file, 8192)
        with (
            closing(Gator(sqlite_dsn)) as gator,
            pytest.raises(StoreUnavailableError, match="malformed"),
        ):
            gator.task(tasks.add, 1, 2)

    def test_a_file_that_may_not_be_written_is_told(self, sqlite_dsn, sqlite_file):
        with closing(sqlite3.connect(sqlite_file)) as connection:
            connection.execute("pragma journal_mode = delete")
        with (
            closing(Gator(f"sqlite:///file:{sqlite_file}?mode=ro&uri=true")) as gator,
            pytest.raises(StoreUnavailableError, match="readonly"),
        ):
            gator.task(tasks.add, 1, 2)

    def test_an_old_library_is_refused(self, monkeypatch):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
        with pytest.raises(InvalidOptionError, match=r"is older than 3\.35"):
            Gator("sqlite:///tasks.db")


@pytest.fixture
def sqlite_file(sqlite_dsn) -> Path:
    return Path(sqlite_dsn.removeprefix("sqlite:///"))
