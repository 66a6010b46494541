"""``current_task().complete(session)``: a task takes effect once, with the rows that it writes."""

import logging
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from alligator_sql import Gator, Task, Worker
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.exceptions import LeaseLost, Unsupported
from alligator_sql.messages import Claim, Progress, TaskRecord, WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded
from tests.helpers import wait_until

from . import callers, completing
from .processes import Files, Process, end_leases, ended

Start = Callable[..., Process]
KINDS = [
    *(
        pytest.param("shared_postgres_dsn", kind, id=f"pg-{kind.__name__}")
        for kind in callers.POSTGRESQL
    ),
    *(pytest.param("sqlite_dsn", kind, id=f"sqlite-{kind.__name__}") for kind in callers.SQLITE),
]
"""Every connection that can be joined."""
FEW = [
    pytest.param("shared_postgres_dsn", callers.PsycopgCaller, id="pg-psycopg"),
    pytest.param("shared_postgres_dsn", callers.SessionCaller, id="pg-session"),
    pytest.param("shared_postgres_dsn", callers.AsyncSessionCaller, id="pg-async"),
    pytest.param("sqlite_dsn", callers.SQLiteCaller, id="sqlite-module"),
    pytest.param("sqlite_dsn", callers.SessionCaller, id="sqlite-session"),
]
DRIVERS = [FEW[0], FEW[3]]


@pytest.fixture(scope="module")
def shared_postgres_dsn(postgres18_server) -> Iterator[str]:
    """One PostgreSQL database for all tests: to make one takes longer than most of them."""
    name = postgres18_server.create_database(postgres18_server.upgraded)
    yield postgres18_server.dsn(name)
    postgres18_server.drop_database(name)


@pytest.fixture
def case(request) -> tuple[str, type[callers.Caller]]:
    """A database with the table of an application, and a kind of connection to it."""
    fixture, kind = request.param
    return str(request.getfixturevalue(fixture)), kind


@pytest.fixture
def dsn(case) -> str:
    return str(case[0])


@pytest.fixture
def kind(case) -> str:
    return str(case[1].__name__)


@pytest.fixture
def gator(dsn) -> Iterator[Gator]:
    gator = Gator(dsn)
    gator.open()
    execute(gator, "create table orders (name text)")
    yield gator
    completing.meanwhile.clear()
    completing.errors.clear()
    if dsn.startswith("postgresql"):
        execute(gator, "drop table orders")
        tables = ("tasks", "payloads", "finished", "errors", "results", "workers")
        execute(gator, f"truncate {', '.join(f'alligator_{table}' for table in tables)}")
    gator.close()


def cases(parameters: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(one.values, id=one.id) for one in parameters], indirect=True
    )


def execute(gator: Gator, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own."""
    assert isinstance(gator.store, SQLBackend)
    with gator.store.engine.begin() as connection:
        result = connection.execute(text(sql))
        return [tuple(row) for row in result] if result.returns_rows else []


def orders(gator: Gator) -> list[str]:
    return [name for (name,) in execute(gator, "select name from orders order by name")]


def found(gator: Gator, task_id: str) -> TaskRecord:
    record = gator.find(task_id)
    assert record is not None
    return record


def steal(gator: Gator, stolen: list[Claim]) -> None:
    """Let another worker take the task over."""
    end_leases(gator)
    assert len(gator.store.rescue(3)) == 1
    thief = WorkerRecord(uuid4(), "there", 1, ("all",), 300.0)
    assert gator.store.heartbeat(thief, first=True)
    stolen += gator.store.claim(["all"], 1, thief.id, thorough=True, begins=True)


class TestOutcomes:
    @cases(KINDS)
    def test_a_commit_ends_the_task_with_what_it_wrote(self, gator, dsn, kind, caplog):
        task = gator.options(keep_result=True).task(completing.order, kind, dsn, "book")
        with caplog.at_level(logging.WARNING):
            assert gator.pop() == "book was sent"
        assert caplog.messages == []
        record = found(gator, task.task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("success", 1, 0)
        # The acknowledgement came later, and changed nothing.
        assert gator.result(task.task_id, timeout=0) == "book is on its way"
        assert orders(gator) == ["book"]
        assert gator.pop() is None

    @cases(FEW)
    def test_an_error_after_the_commit_changes_nothing(self, gator, dsn, kind):
        task = gator.options(retries=3).task(completing.order, kind, dsn, "book", fail=True)
        assert gator.pop() is None
        assert found(gator, task.task_id).status_name == "success"
        assert gator.len() == 0
        assert orders(gator) == ["book"]

    @cases(FEW)
    def test_a_rollback_leaves_the_task(self, gator, dsn, kind):
        opts = gator.options(retries=1, backoff=0)
        task = opts.task(completing.order, kind, dsn, "book", commit=False, fail=True)
        assert gator.pop() is None
        assert found(gator, task.task_id).status_name == "retrying"
        assert orders(gator) == []
        with pytest.raises(ValueError, match="no luck"):
            gator.pop()
        assert found(gator, task.task_id).status_name == "failed"

    @cases(FEW)
    def test_who_returns_after_a_rollback_has_succeeded(self, gator, dsn, kind):
        task = gator.task(completing.order, kind, dsn, "book", commit=False)
        assert gator.pop() == "book was sent"
        assert found(gator, task.task_id).status_name == "success"
        assert orders(gator) == []

    @cases(FEW)
    def test_whose_task_was_taken_writes_nothing(self, gator, dsn, kind):
        stolen: list[Claim] = []
        completing.meanwhile.append(lambda: steal(gator, stolen))
        task = gator.task(completing.order, kind, dsn, "book")
        assert gator.pop() is None
        self.check_lost(gator, task)
        (claim,) = stolen
        record = found(gator, task.task_id)
        assert (record.status_name, record.worker_id) == ("running", claim.worker)
        assert gator.store.ack([Settlement(claim, Succeeded())]) == {claim.id}

    @cases(FEW)
    def test_whose_lease_has_ended_writes_nothing(self, gator, dsn, kind):
        completing.meanwhile.append(lambda: end_leases(gator))
        task = gator.task(completing.order, kind, dsn, "book")
        assert gator.pop() is None
        self.check_lost(gator, task)
        completing.meanwhile.clear()
        assert gator.pop() == "book was sent"
        assert orders(gator) == ["book"]
        record = found(gator, task.task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("success", 1, 0)

    @cases([FEW[0]])
    def test_a_snapshot_that_is_too_old_is_refused(self, gator, dsn):
        """As PostgreSQL refuses any write over one that the transaction cannot see."""
        task = gator.task(completing.order, "PsycopgCaller", dsn, "book")
        worker = WorkerRecord(uuid4(), "here", 1, ("all",), 300.0)
        assert gator.store.heartbeat(worker, first=True)
        (claim,) = gator.store.claim(["all"], 1, worker.id, thorough=True, begins=True)
        settlement = Settlement(claim, Succeeded(completed=True))
        with psycopg.connect(dsn) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            assert connection.execute("select count(*) from orders").fetchone() == (0,)
            gator.store.report(worker.id, {claim.id: Progress(50.0)})
            with pytest.raises(psycopg.errors.SerializationFailure):
                gator.store.complete(settlement, connection)
            connection.rollback()
            assert gator.store.complete(settlement, connection)
        assert found(gator, task.task_id).status_name == "success"

    def check_lost(self, gator: Gator, task: Task) -> None:
        (error,) = completing.errors
        assert isinstance(error, LeaseLost)
        assert str(task.task_id) in str(error)
        assert orders(gator) == []

    @cases([FEW[0]])
    def test_a_connection_without_a_transaction_is_refused(self, gator, dsn):
        task = gator.task(completing.order_alone, dsn)
        with pytest.raises(Unsupported, match=r"autocommit.*begin one first"):
            gator.pop()
        assert found(gator, task.task_id).status_name == "failed"


@cases(DRIVERS)
class TestWorkers:
    """Each runner lets its tasks complete."""

    def test_threads(self, gator, dsn, kind):
        ids = [gator.task(completing.order, kind, dsn, str(n)).task_id for n in range(4)]
        Worker(gator, concurrency=2, burst=True).run_forever()
        self.check(gator, ids, ["0", "1", "2", "3"])

    def test_coroutines(self, gator, dsn):
        ids = [gator.task(completing.order_in_a_coroutine, dsn, str(n)).task_id for n in range(4)]
        Worker(gator, concurrency=4, executor="asyncio", burst=True).run_forever()
        self.check(gator, ids, ["0", "1", "2", "3"])

    def test_child_processes(self, gator, dsn, kind, start):
        task = gator.task(completing.order, kind, dsn, "book")
        worker = start("--burst", "-x", "processes")
        assert worker.ends() == 0, worker.log
        self.check(gator, [task.task_id], ["book"])
        assert "stale" not in worker.log

    def check(self, gator: Gator, ids: list[str], wanted: list[str]) -> None:
        for task_id in ids:
            record = found(gator, task_id)
            assert (record.status_name, record.attempts) == ("success", 1)
        assert orders(gator) == wanted


class TestKilledWorkers:
    """SIGKILL, and another worker that takes back what is left."""

    @cases(DRIVERS)
    def test_after_the_commit_and_before_the_acknowledgement(self, gator, dsn, kind, start, files):
        task_id = self.kill_while(gator, dsn, kind, "after", start, files)
        heir = start()
        # It has taken back what the dead one held, which is nothing.
        wait_until(lambda: execute(gator, "select pid from alligator_workers") == [(heir.pid,)])
        heir.send(signal.SIGTERM)
        assert heir.ends() == 0, heir.log
        record = found(gator, task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("success", 1, 0)
        assert files.lines(files.started) == ["book"]
        assert orders(gator) == ["book"]

    @cases(DRIVERS)
    def test_before_the_commit(self, gator, dsn, kind, start, files):
        task_id = self.kill_while(gator, dsn, kind, "before", start, files)
        assert orders(gator) == []
        files.let_go()
        heir = start()
        record = ended(gator, task_id)
        heir.send(signal.SIGTERM)
        assert heir.ends() == 0, heir.log
        assert (record.status_name, record.attempts, record.crashes) == ("success", 2, 1)
        assert files.lines(files.started) == ["book", "book"]
        assert orders(gator) == ["book"]

    def kill_while(
        self, gator: Gator, dsn: str, kind: str, when: str, start: Start, files: Files
    ) -> str:
        """Kill a worker before or after its task has committed, and return the task's id."""
        task = gator.task(
            completing.order_and_wait, kind, dsn, "book", when, files.started, files.until
        )
        worker = start()
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGKILL)
        assert worker.ends() == -signal.SIGKILL
        end_leases(gator)
        return str(task.task_id)

    @cases(DRIVERS)
    def test_at_any_moment(self, gator, dsn, kind, start):
        names = sorted(str(number) for number in range(150))
        ids = [gator.task(completing.order, kind, dsn, name).task_id for name in names]
        for written in (20, 60):  # no task can be hit often enough to be quarantined
            worker = start("-c", "4")
            wait_until(partial(self.has_written, gator, written))
            worker.send(signal.SIGKILL)
            assert worker.ends() == -signal.SIGKILL
            end_leases(gator)
        heir = start("-c", "4")
        for task_id in ids:
            assert ended(gator, task_id).status_name == "success"
        heir.send(signal.SIGTERM)
        assert heir.ends() == 0, heir.log
        assert orders(gator) == names

    def has_written(self, gator: Gator, count: int) -> bool:
        return len(orders(gator)) >= count
