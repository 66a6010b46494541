"""Outcomes reach the database whatever is there already, and so do the rescues."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text

from alligator_sql import Gator
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.backends.sql.marks import CHEAP
from alligator_sql.backends.sql.postgresql import PostgreSQL
from alligator_sql.clock import SYSTEM_CLOCK
from alligator_sql.constants import FAILED, SUCCESS
from alligator_sql.messages import Claim, Failure, Progress, WorkerRecord
from alligator_sql.outcomes import Failed, Outcome, Released, Settlement, Succeeded
from alligator_sql.testing.conformance import message
from tests.helpers import Background, wait_until

from . import tasks

FAILURE = Failure("ValueError", "no", "Traceback …")


def backend_of(gator: Gator) -> SQLBackend:
    assert isinstance(gator.store, SQLBackend)
    return gator.store


def join(gator: Gator) -> UUID:
    """Begin the lease of a new worker and return its id."""
    record = WorkerRecord(uuid4(), "here", 1, ("all",), 300.0)
    assert gator.store.heartbeat(record, first=True)
    return record.id


def claim(gator: Gator, worker: UUID | None = None) -> Claim:
    (held,) = gator.store.claim(["all"], 1, worker or join(gator), thorough=True, begins=True)
    return held


def rows(gator: Gator, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Run ``sql`` and return its rows."""
    with backend_of(gator).engine.begin() as connection:
        result = connection.execute(text(sql), values)
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture(params=["sqlite_dsn", "postgres18_dsn"])
def gator(request) -> Iterator[Gator]:
    gator = Gator(request.getfixturevalue(request.param))
    gator.open()
    yield gator
    gator.close()


@pytest.fixture
def on_postgres(postgres_dsn) -> Iterator[Gator]:
    gator = Gator(postgres_dsn)
    gator.open()
    yield gator
    gator.close()


@pytest.mark.parametrize(
    ("outcome", "status"), [(Succeeded(1, result="1"), SUCCESS), (Failed(FAILURE), FAILED)]
)
def test_an_outcome_is_settled_beside_rows_that_are_there_already(
    gator: Gator, outcome: Outcome, status: int
) -> None:
    """Remains of an earlier life of the id must not hold up a worker's other outcomes."""
    task_id = gator.options(task_id="again").task(tasks.echo, 1).task_id
    first = claim(gator)
    gator.store.ack([Settlement(first, outcome)])
    other = gator.task(tasks.echo, 2)
    rows(
        gator,
        """
        insert into alligator_tasks (id, queue, func, run_at, created_at)
        select id, queue, func, run_at, created_at from alligator_finished
        """,
    )
    worker = join(gator)
    held = gator.store.claim(["all"], 2, worker, thorough=True)
    assert gator.store.ack([Settlement(one, outcome) for one in held]) == {
        first.id,
        UUID(other.task_id),
    }
    assert gator.len() == 0
    assert rows(gator, "select count(*) from alligator_tasks") == [(0,)]
    for known in (task_id, other.task_id):
        record = gator.find(known)
        assert record is not None
        assert record.status == status


def test_a_task_that_is_in_the_history_can_still_be_canceled(gator: Gator) -> None:
    task = gator.options(task_id="again").task(tasks.echo, 1)
    gator.store.ack([Settlement(claim(gator), Succeeded())])
    rows(
        gator,
        """
        insert into alligator_tasks (id, queue, func, run_at, created_at)
        select id, queue, func, run_at, created_at from alligator_finished
        """,
    )
    assert gator.store.cancel("all", task.task_id) is not None
    assert gator.len() == 0


def test_the_fence_holds_in_a_batch(gator: Gator) -> None:
    for number in range(2):
        gator.task(tasks.echo, number)
    worker = join(gator)
    lost, held = gator.store.claim(["all"], 2, worker)
    gator.store.ack([Settlement(lost, Released())])
    assert gator.store.ack([Settlement(one, Succeeded()) for one in (lost, held)]) == {held.id}
    assert rows(gator, "select count(*) from alligator_finished") == [(1,)]
    assert rows(gator, "select count(*) from alligator_tasks") == [(1,)]


class TestARaceOfAKnownId:
    """An insert waits for a unique key; meanwhile its id comes, runs and ends."""

    def enqueue_late(self, gator: Gator, dsn: str, store: Callable[[], Any]) -> Any:
        """Return what ``store`` returns, after it waited for the key while the id ended."""
        with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as observer:
            gator.using(holder).options(unique_key="k").task(tasks.echo, "holder")
            waiting = Background(store)
            wait_until(
                lambda: observer.execute(
                    "select 1 from pg_locks where not granted and locktype = 'transactionid'"
                ).fetchall()
            )
            gator.options(task_id="X").task(tasks.echo, "first")
            gator.store.ack([Settlement(claim(gator), Succeeded())])
            holder.rollback()
            return waiting.result()

    def check_ran_once(self, gator: Gator) -> None:
        assert rows(gator, "select count(*) from alligator_finished") == [(1,)]
        assert rows(gator, "select func, status from alligator_tasks where unique_key = 'k'") == []

    def test_one_message(self, on_postgres: Gator, postgres_dsn: str) -> None:
        late = self.enqueue_late(
            on_postgres,
            postgres_dsn,
            lambda: on_postgres.options(task_id="X", unique_key="k").task(tasks.echo, "second"),
        )
        assert late.duplicate
        assert late.func_args == ("first",)
        self.check_ran_once(on_postgres)
        assert on_postgres.len() == 0

    def test_a_batch(self, on_postgres: Gator, postgres_dsn: str) -> None:
        late = self.enqueue_late(
            on_postgres,
            postgres_dsn,
            lambda: on_postgres.store.enqueue(
                [message("all", task_id="X", unique_key="k"), message("all")]
            ),
        )
        assert [receipt.duplicate for receipt in late] == [True, False]
        self.check_ran_once(on_postgres)
        assert on_postgres.len() == 1

    def test_in_a_transaction_of_the_caller(self, on_postgres: Gator, postgres_dsn: str) -> None:
        with psycopg.connect(postgres_dsn) as connection:
            joined = on_postgres.using(connection).options(task_id="X", unique_key="k")
            late = self.enqueue_late(
                on_postgres, postgres_dsn, lambda: joined.task(tasks.echo, "second")
            )
            connection.commit()
        assert late.duplicate
        self.check_ran_once(on_postgres)
        assert on_postgres.len() == 0


def test_a_report_of_progress_waits_for_nobody(on_postgres: Gator, postgres_dsn: str) -> None:
    """Whoever has locked some of its tasks may wait for others of them: that would deadlock."""
    first, second = (on_postgres.task(tasks.echo, number).task_id for number in range(2))
    worker = join(on_postgres)
    held = on_postgres.store.claim(["all"], 2, worker, begins=True)
    with psycopg.connect(postgres_dsn) as locker:
        locker.execute("select 1 from alligator_tasks where id = %s for update", (first,))
        on_postgres.store.report(worker, {claim.id: Progress(50.0) for claim in held})
    said = rows(on_postgres, "select id, progress from alligator_tasks order by id")
    assert said == [(UUID(first), None), (UUID(second), 50.0)]


class TestRescue:
    def test_a_worker_stays_while_a_task_of_it_is_locked(
        self, on_postgres: Gator, postgres_dsn: str
    ) -> None:
        gator = on_postgres
        gator.task(tasks.echo, 1)
        dead = join(gator)
        held = claim(gator, dead)
        gator.store.leave(dead, holds=True)
        with psycopg.connect(postgres_dsn) as locker:
            locker.execute("select 1 from alligator_tasks for update")
            assert gator.store.rescue(3) == []
        assert gator.store.rescue(3) == [held.id]
        assert rows(gator, "select 1 from alligator_workers where id = :id", id=dead) == []

    def test_a_quarantined_task_tells_its_attempts(self, gator: Gator) -> None:
        gator.task(tasks.echo, 1)
        worker = join(gator)
        for _ in range(3):
            gator.store.ack([Settlement(claim(gator, worker), Released())])
        assert claim(gator, worker).lease == 4
        gator.store.leave(worker, holds=True)
        gator.store.rescue(1)
        assert rows(gator, "select lease, attempt from alligator_errors") == [(4, 1)]

    def test_a_quarantine_wakes_those_who_wait(self, on_postgres: Gator) -> None:
        on_postgres.task(tasks.echo, 1)
        worker = join(on_postgres)
        claim(on_postgres, worker)
        on_postgres.store.leave(worker, holds=True)
        listener = backend_of(on_postgres)._wakeups.end_listener()
        try:
            on_postgres.store.rescue(1)
            assert listener.wait(10.0)
        finally:
            listener.close()


def test_a_thorough_claim_looks_from_the_front_even_when_that_is_dear(on_postgres: Gator) -> None:
    dialect = backend_of(on_postgres)._dialect
    assert isinstance(dialect, PostgreSQL)
    worker = join(on_postgres)
    for _ in range(2):
        dialect._marks_of(["all"]).full_done([("all", 0)], SYSTEM_CLOCK.monotonic(), 1000 * CHEAP)
    urgent = on_postgres.options(priority=9).task(tasks.echo, 1)
    assert on_postgres.store.claim(["all"], 1, worker) == []
    (held,) = on_postgres.store.claim(["all"], 1, worker, thorough=True)
    assert str(held.id) == urgent.task_id
