"""What a revision does to a database that is in use."""

import sqlite3
from uuid import UUID

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.backends.sql import migrating, schema
from alligator_sql.constants import FAILED, WAITING
from alligator_sql.exceptions import SchemaError
from alligator_sql.messages import WorkerRecord

from ..integration import tasks
from .databases import definitions, dump, file_of

WAITS, FAILED_BEFORE, CANCELED_BEFORE = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("empty_sqlite_dsn"))
    server = request.getfixturevalue("postgres18_server")
    return str(server.dsn(server.create_database()))


def execute(dsn: str, *statements: str) -> list[tuple[object, ...]]:
    """Execute statements that both databases know, and return the rows of the last."""
    if dsn.startswith("sqlite"):
        file = sqlite3.connect(file_of(dsn), isolation_level=None)
        for statement in statements:
            rows = file.execute(statement.replace("now()", "1.7e9").replace("-", "")).fetchall()
        file.close()
        return rows
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def fill(dsn: str) -> None:
    """Store what the release of revision 0001 stored."""
    ended = "insert into alligator_finished (id, run_at, created_at, finished_at, attempts, "
    ended += "priority, status, crashes, queue, func, reason) values "
    execute(
        dsn,
        "insert into alligator_tasks (id, run_at, created_at, queue, func) "
        f"values ('{WAITS}', now(), now(), 'all', 'tests:f')",
        f"{ended} ('{FAILED_BEFORE}', now(), now(), now(), 3, 7, 2, 1, 'all', 'tests:f', null)",
        "insert into alligator_errors (task_id, lease, at, attempt, kind, message, traceback) "
        f"values ('{FAILED_BEFORE}', 4, now(), 3, 'ValueError', 'no', '')",
        f"{ended} ('{CANCELED_BEFORE}', now(), now(), now(), 0, 0, 5, 0, 'all', 'tests:f', 'x')",
        *(
            f"insert into alligator_payloads (id, payload) values ('{one}', 'kept')"
            for one in (WAITS, FAILED_BEFORE, CANCELED_BEFORE)
        ),
    )


def test_0002_keeps_what_is_there_and_its_tasks_can_be_tried_again(dsn):
    schema.upgrade(dsn, "0001")
    fill(dsn)
    schema.upgrade(dsn)

    gator = Gator(dsn)
    assert gator.len() == 1
    for task_id in (FAILED_BEFORE, CANCELED_BEFORE):
        assert gator.retry(str(task_id))
    record = gator.find(str(FAILED_BEFORE))
    assert record is not None
    assert (record.status, record.priority, record.error) == (WAITING, 7, "ValueError: no")

    worker = WorkerRecord(UUID(int=9), "here", 1, ("all",), 60.0)
    gator.store.heartbeat(worker, first=True)
    claims = gator.store.claim(["all"], 10, worker.id, thorough=True)
    leases = {claim.id: claim.lease for claim in claims}
    assert leases.keys() == {WAITS, FAILED_BEFORE, CANCELED_BEFORE}
    assert leases[WAITS] == 1
    # Nobody knows how often they were claimed, so it is above all that may be.
    assert leases[FAILED_BEFORE] == leases[CANCELED_BEFORE] > 1_000_000
    assert all(claim.payload == "kept" for claim in claims)
    gator.close()


def test_workers_of_0001_may_go_on(dsn):
    """Their acknowledgements name the columns that they know."""
    schema.upgrade(dsn)
    fill(dsn)
    gator = Gator(dsn)
    assert gator.retry(str(FAILED_BEFORE))
    gator.close()


def test_this_release_asks_for_0002(dsn):
    schema.upgrade(dsn, "0001")
    gator = Gator(dsn)
    with pytest.raises(SchemaError, match=r"Run: alligator-sql schema upgrade$"):
        gator.task(tasks.add, 1, 2)
    schema.upgrade(dsn)
    gator.task(tasks.add, 1, 2)
    assert gator.pop() == 3
    gator.close()


def test_a_downgrade_to_0001_leaves_the_tasks(dsn, request):
    schema.upgrade(dsn, "0001")
    before = described(dsn, request)
    schema.upgrade(dsn)
    gator = Gator(dsn)
    gator.task(tasks.add, 1, 2)
    gator.task(tasks.fail)
    assert gator.pop() == 3
    with pytest.raises(ValueError, match="no luck"):
        gator.pop()
    gator.task(tasks.add, 1, 2)
    gator.pause()
    gator.close()

    migrating.downgrade(dsn, "-1")
    assert migrating.current(dsn) == "0001"
    assert described(dsn, request) == before
    assert execute(dsn, "select queue, due from alligator_queue_depth") == [("all", 1)]
    assert execute(dsn, "select status from alligator_finished order by 1") == [(1,), (FAILED,)]

    schema.upgrade(dsn)
    assert migrating.check(dsn) == []
    gator = Gator(dsn)
    assert not gator.is_paused()
    assert gator.pop() == 3
    gator.close()


def described(dsn: str, request: pytest.FixtureRequest) -> object:
    """Return the definitions of a database."""
    if dsn.startswith("sqlite"):
        return definitions(dsn)
    return dump(dsn, request.getfixturevalue("postgres18_server").version)


def test_the_rights_of_a_reporting_role_stay(empty_postgres_dsn):
    schema.upgrade(empty_postgres_dsn, "0001")
    may_read = "select has_table_privilege('reader', 'alligator_queue_depth', 'select')"
    execute(empty_postgres_dsn, "drop role if exists reader", "create role reader")
    execute(empty_postgres_dsn, "grant select on alligator_queue_depth to reader")
    schema.upgrade(empty_postgres_dsn)
    assert execute(empty_postgres_dsn, may_read) == [(True,)]


def test_the_view_tells_what_is_paused(dsn):
    schema.upgrade(dsn)
    gators = [Gator(dsn, name) for name in ("mail", "images")]
    for gator in gators:
        gator.task(tasks.add, 1, 2)
    gators[0].pause()
    shown = "select queue, due, paused from alligator_queue_depth order by queue"
    assert execute(dsn, shown) == [("images", 1, False), ("mail", 1, True)]
    gators[0].resume()
    assert execute(dsn, shown) == [("images", 1, False), ("mail", 1, False)]
    for gator in gators:
        gator.close()
