"""Claims stay cheap while dead entries pile up, and still find whatever there is."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.backends.sql.marks import FRONT
from alligator_sql.messages import Claim, WorkerRecord
from alligator_sql.outcomes import Released, Settlement, Snoozed, Succeeded
from tests.helpers import wait_until

from . import tasks
from .plans import Prepared


class Claimer:
    """What a worker is to the store."""

    def __init__(self, gator: Gator) -> None:
        self.store = gator.store
        self.record = WorkerRecord(uuid4(), "here", 1, ("all",), 300.0)
        self.store.heartbeat(self.record, first=True)

    @property
    def id(self) -> UUID:
        return self.record.id

    def claim(self, limit: int = 100) -> list[Claim]:
        return self.store.claim(["all"], limit, self.id)

    def claim_ids(self, count: int = 1) -> list[str]:
        """Claim until ``count`` tasks were found; a look from the front may have to wait."""
        found: list[str] = []

        def enough() -> bool:
            found.extend(str(claim.id) for claim in self.claim())
            return len(found) >= count

        wait_until(enough)
        return found

    def claim_at_least(self, ids: set[str]) -> None:
        """Claim until all of ``ids`` were found."""
        missing = set(ids)

        def found() -> bool:
            missing.difference_update(str(claim.id) for claim in self.claim())
            return not missing

        wait_until(found)

    def work_through(self, count: int, batch: int = 500) -> None:
        """Claim and end ``count`` tasks."""
        done = 0
        settlements: list[Settlement] = []
        while done < count:
            claims = self.store.claim(["all"], batch, self.id, settlements)
            assert claims
            settlements = [Settlement(claim, Succeeded()) for claim in claims]
            done += len(claims)
        self.store.ack(settlements)


@pytest.fixture
def gator(postgres_dsn) -> Iterator[Gator]:
    gator = Gator(postgres_dsn)
    yield gator
    gator.close()


@pytest.fixture
def claimer(gator) -> Claimer:
    return Claimer(gator)


def test_claims_are_heap_only_updates(gator, claimer, postgres_dsn):
    count = 5000
    gator.map(tasks.echo, range(count))
    claimer.work_through(count, batch=100)
    gator.close()  # only now the server hears what the connection has done
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:

        def updates() -> tuple[int, int]:
            row = connection.execute(
                "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables "
                "where relname = 'alligator_tasks'"
            ).fetchone()
            assert row is not None
            return row

        wait_until(lambda: updates()[0] >= count)
        updated, hot = updates()
    assert hot >= 0.95 * updated, f"{hot} of {updated}"


def test_a_bounded_claim_visits_few_dead_entries_and_a_full_one_all(gator, claimer, postgres_dsn):
    count = 20_000
    with psycopg.connect(postgres_dsn) as holder, psycopg.connect(postgres_dsn) as observer:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")  # from here on its snapshot keeps every dead row
        gator.map(tasks.echo, range(count))
        claimer.work_through(count)
        gator.map(tasks.echo, range(100))

        dialect = gator.store._dialect
        (mark,) = dialect._marks_of(["all"]).bounded()
        blocks = {}
        for name, places in (("bounded", [mark]), ("full", [(("all", 0), FRONT)])):
            sql, values = next(dialect._claim_from(places, ["all"], 10, claimer.id, begins=True))
            plan = Prepared(observer, name, sql).analyze(values, "auto")
            assert plan.root["Actual Rows"] == 10
            blocks[name] = plan.blocks
            observer.rollback()
        assert blocks["bounded"] < 200, blocks
        assert blocks["full"] > max(500, 4 * blocks["bounded"]), blocks

        # and nothing is lost, though a look from the front is dear now
        late = enqueue_late(gator, postgres_dsn, claimer)
        urgent = gator.options(priority=9).task(tasks.echo, "urgent").task_id
        claimer.claim_at_least({late, urgent})


def enqueue_late(gator: Gator, dsn: str, claimer: Claimer) -> str:
    """Commit a task only after younger ones were claimed: behind the mark. Return its id."""
    with psycopg.connect(dsn) as slow:
        task = gator.using(slow).task(tasks.echo, "late")
        younger = [gator.task(tasks.echo, number).task_id for number in range(3)]
        claimer.claim_at_least(set(younger))
        slow.commit()
    return task.task_id


class TestWhatABoundedClaimCannotSee:
    """Each of these comes with one of the next claims, and while they are cheap with the next."""

    @pytest.fixture(autouse=True)
    def _a_mark_far_ahead(self, gator, claimer) -> None:
        gator.map(tasks.echo, range(50))
        claimer.work_through(50)

    def test_a_task_that_was_committed_late(self, gator, claimer, postgres_dsn):
        late = enqueue_late(gator, postgres_dsn, claimer)
        assert claimer.claim_ids() == [late]

    @pytest.mark.parametrize("priority", [9, -9])
    def test_a_task_of_a_new_priority(self, gator, claimer, priority):
        task = gator.options(priority=priority).task(tasks.echo, 1)
        assert claimer.claim_ids() == [task.task_id]

    def test_a_task_that_was_due_long_ago(self, gator, claimer):
        """Due times of the past count as now; a row that somebody else wrote may be older."""
        task = gator.options(delay_until=1).task(tasks.echo, 1)
        assert claimer.claim_ids() == [task.task_id]

    def test_tasks_of_a_worker_that_died(self, gator, claimer):
        ids = [gator.task(tasks.echo, number).task_id for number in range(3)]
        other = Claimer(gator)
        assert other.claim_ids(3) == ids
        gator.store.leave(other.id, holds=True)
        assert [str(task_id) for task_id in gator.store.rescue(3)] == ids
        assert sorted(claimer.claim_ids(3)) == ids

    def test_tasks_that_were_handed_back(self, gator, claimer):
        ids = [gator.task(tasks.echo, number).task_id for number in range(3)]
        claims = claimer.claim()
        assert [str(claim.id) for claim in claims] == ids
        gator.store.ack([Settlement(claim, Released()) for claim in claims])
        assert sorted(claimer.claim_ids(3)) == ids

    def test_a_task_that_was_snoozed_for_no_time(self, gator, claimer):
        task = gator.task(tasks.echo, 1)
        (claim,) = claimer.claim()
        newer = gator.task(tasks.echo, 2)
        assert claimer.claim_ids() == [newer.task_id]
        gator.store.ack([Settlement(claim, Snoozed(0.0, RuntimeError()))])
        assert claimer.claim_ids() == [task.task_id]

    def test_a_more_urgent_task_while_there_is_enough_else_to_do(self, gator, claimer):
        """Bounded claims come back full here; from time to time one looks at all priorities."""
        gator.map(tasks.echo, range(2000))
        urgent = gator.options(priority=1).task(tasks.echo, "urgent").task_id

        def found() -> bool:
            claims = claimer.claim(1)
            gator.store.ack([Settlement(claim, Succeeded()) for claim in claims])
            return urgent in {str(claim.id) for claim in claims}

        wait_until(found)
        assert gator.len() > 0
