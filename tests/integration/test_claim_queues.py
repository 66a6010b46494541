"""Claims from several queues at once: their order, how many they lock, and who else claims."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.backends.sql.marks import MOST_PLACES
from alligator_sql.backends.sql.steps import drive, on_psycopg
from alligator_sql.messages import Claim, WorkerRecord
from tests.helpers import wait_until

from . import tasks


@pytest.fixture
def gator(postgres_dsn) -> Iterator[Gator]:
    gator = Gator(postgres_dsn)
    yield gator
    gator.close()


def join(gator: Gator, queues: Sequence[str]) -> UUID:
    record = WorkerRecord(uuid4(), "here", 1, tuple(queues), 300.0)
    gator.store.heartbeat(record, first=True)
    return record.id


def fill(gator: Gator, queue: str, count: int, priority: int = 0) -> list[str]:
    """Enqueue tasks and return their ids in the order in which they are to come."""
    with gator.options(queue=queue, priority=priority) as there:
        return [there.task(tasks.echo, number).task_id for number in range(count)]


def ids(claims: Sequence[Claim]) -> list[str]:
    return [str(claim.id) for claim in claims]


def test_queues_come_in_their_order_and_priorities_inside_them(gator):
    queues = ["second", "first", "third"]  # the order of the list, not that of the names
    third = fill(gator, "third", 2, priority=9)
    normal = fill(gator, "second", 3)
    urgent = fill(gator, "second", 2, priority=5)
    first = fill(gator, "first", 2)
    worker = join(gator, queues)
    assert ids(gator.store.claim(queues, 4, worker)) == [*urgent, *normal[:2]]
    again = fill(gator, "second", 1)
    assert ids(gator.store.claim(queues, 3, worker)) == [normal[2], *again, first[0]]
    assert ids(gator.store.claim(queues, 9, worker)) == [first[1], *third]


def test_a_claim_locks_what_it_takes_and_leaves_the_rest_to_others(gator, postgres_dsn):
    """The limit of all queues together holds, though each has one that is as high."""
    queues = [f"queue-{number}" for number in range(10)]
    sent = [task_id for queue in queues for task_id in fill(gator, queue, 5)]
    worker, other = join(gator, queues), join(gator, queues[::-1])
    dialect = gator.store._dialect
    with psycopg.connect(postgres_dsn) as connection, connection.transaction(force_rollback=True):
        claims = drive(dialect.claim(queues, 12, worker), on_psycopg(connection))
        assert ids(claims) == sent[:12]
        rest = gator.store.claim(queues[::-1], 100, other)
        assert sorted(ids(rest)) == sorted(sent[12:])
        assert [claim.queue for claim in rest[:5]] == ["queue-9"] * 5


def test_a_paused_queue_is_passed_over(gator):
    queues = ["a", "b", "c"]
    first, paused, last = (fill(gator, queue, 2) for queue in queues)
    worker = join(gator, queues)
    gator.store.pause("b")
    assert ids(gator.store.claim(queues, 10, worker)) == [*first, *last]
    gator.store.resume("b")
    assert ids(gator.store.claim(queues, 10, worker, thorough=True)) == paused


def test_more_places_than_one_statement_takes(gator, postgres_dsn):
    queues = [f"queue-{number}" for number in range(MOST_PLACES + 100)]
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            """
            insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
            select gen_random_uuid(), queue, 0, now(), now(), 0, 'tests:f'
              from unnest(%s::text[]) queue
            """,
            (queues,),
        )
    worker = join(gator, queues)
    claims = gator.store.claim(queues, MOST_PLACES - 10, worker)
    claims += gator.store.claim(queues, 50, worker)
    assert [claim.queue for claim in claims] == queues[: MOST_PLACES + 40]
    claims = gator.store.claim(queues, MOST_PLACES, worker)
    assert [claim.queue for claim in claims] == queues[MOST_PLACES + 40 :]
    assert gator.store.claim(queues, MOST_PLACES, worker, thorough=True) == []


def test_a_queue_that_was_empty_is_seen_while_others_are_full(gator):
    fill(gator, "full", 50)
    queues = ["empty", "full"]
    worker = join(gator, queues)
    assert [claim.queue for claim in gator.store.claim(queues, 1, worker)] == ["full"]
    known = fill(gator, "empty", 1)
    found: list[str] = []

    def seen() -> bool:
        found.extend(ids(gator.store.claim(queues, 1, worker)))
        return known[0] in found

    wait_until(seen)
    # and from then on with the next claim
    known = fill(gator, "empty", 1)
    assert ids(gator.store.claim(queues, 1, worker)) == known
