"""What a revision does to a database that is in use."""

import sqlite3
from uuid import UUID

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.backends.sql import migrating, schema
from alligator_sql.constants import FAILED, WAITING
from alligator_sql.exceptions import SchemaError
from alligator_sql.messages import Progress, WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded

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


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_this_release_asks_for_the_newest(dsn, revision):
    schema.upgrade(dsn, revision)
    gator = Gator(dsn)
    with pytest.raises(SchemaError, match=r"Run: alligator-sql schema upgrade$"):
        gator.task(tasks.add, 1, 2)
    schema.upgrade(dsn)
    gator.task(tasks.add, 1, 2)
    assert gator.pop() == 3
    gator.close()


@pytest.mark.parametrize(("revision", "knows_pauses"), [("0001", False), ("0002", True)])
def test_a_downgrade_leaves_the_tasks(dsn, request, revision, knows_pauses):
    schema.upgrade(dsn, revision)
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

    migrating.downgrade(dsn, revision)
    assert migrating.current(dsn) == revision
    assert described(dsn, request) == before
    assert execute(dsn, "select queue, due from alligator_queue_depth") == [("all", 1)]
    assert execute(dsn, "select status from alligator_finished order by 1") == [(1,), (FAILED,)]

    schema.upgrade(dsn)
    assert migrating.check(dsn) == []
    gator = Gator(dsn)
    assert gator.is_paused() == knows_pauses
    gator.resume()
    assert gator.pop() == 3
    gator.close()


def described(dsn: str, request: pytest.FixtureRequest) -> object:
    """Return the definitions of a database."""
    if dsn.startswith("sqlite"):
        return definitions(dsn)
    return dump(dsn, request.getfixturevalue("postgres18_server").version)


@pytest.mark.parametrize("view", ["alligator_queue_depth", "alligator_all_tasks"])
def test_the_rights_of_a_reporting_role_stay(empty_postgres_dsn, view):
    schema.upgrade(empty_postgres_dsn, "0001")
    may_read = f"select has_table_privilege('reader', '{view}', 'select')"
    execute(empty_postgres_dsn, "drop role if exists reader", "create role reader")
    execute(empty_postgres_dsn, f"grant select on {view} to reader")
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


def test_0003_finds_running_tasks_begun(dsn):
    """The release before started whatever it held, as far as it knew."""
    schema.upgrade(dsn, "0002")
    worker = "00000000-0000-0000-0000-000000000007"
    execute(
        dsn,
        "insert into alligator_workers (id, expires_at, started_at, pid, host, queues) "
        f"values ('{worker}', now(), now(), 7, 'there', '[]')",
        "insert into alligator_tasks (id, run_at, created_at, queue, func, lease, attempts, "
        f"status, worker_id, started_at) values ('{WAITS}', now(), now(), 'all', 'tests:f', 1, 1, "
        f"6, '{worker}', now())",
        f"insert into alligator_payloads (id, payload) values ('{WAITS}', 'kept')",
    )
    schema.upgrade(dsn)
    gator = Gator(dsn)
    assert gator.store.rescue(1) == [WAITS]
    record = gator.find(str(WAITS))
    assert record is not None
    assert (record.status, record.crashes, record.reason) == (FAILED, 1, "quarantined")
    assert f"the last was {worker} on there with process id 7" in str(record.error)
    gator.close()


def test_the_view_tells_of_running_tasks(dsn):
    schema.upgrade(dsn)
    gator = Gator(dsn)
    ids = [UUID(gator.task(tasks.echo, number).task_id) for number in range(2)]
    worker = WorkerRecord(UUID(int=9), "here", 1, ("all",), 60.0)
    gator.store.heartbeat(worker, first=True)
    claims = gator.store.claim(["all"], 2, worker.id, begins=True)
    gator.store.report(worker.id, {ids[1]: Progress(37.5, "on the way")})
    assert gator.cancel(str(ids[1])) is not None
    shown = "select canceled_at is null, progress, progress_message from alligator_all_tasks "
    shown += "order by id"
    assert [claim.id for claim in claims] == ids
    running = [(True, None, None), (False, 37.5, "on the way")]
    assert execute(dsn, shown) == running
    gator.store.ack([Settlement(claim, Succeeded()) for claim in claims])
    assert execute(dsn, shown) == [(True, None, None)] * 2
    gator.close()
