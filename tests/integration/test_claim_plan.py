"""The plans of the hot statements do not flip, whatever the statistics say.

A worker claims from queues that were empty when they were last analysed, that hold a
million tasks for tomorrow, or whose front is full of dead entries. In each of them a claim
of n tasks has to read about n rows. Rows are counted here and not seconds.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import make_url

from alligator_sql.backends.sql.dialects import Ended, Place, PutBack, in_order
from alligator_sql.backends.sql.driver import PLAN_ONCE
from alligator_sql.backends.sql.marks import FRONT, Mark
from alligator_sql.backends.sql.postgresql import PostgreSQL
from alligator_sql.backends.sql.sqlite import SQLite
from alligator_sql.backends.sql.statements import Statements
from alligator_sql.backends.sql.tables import Names, build
from alligator_sql.constants import SUCCESS, WAITING
from alligator_sql.messages import Claim, Progress

from .plans import MODES, Plan, Prepared

MANY = 200_000
BATCH = 100
QUEUES = ["none", "all", "empty"]
"""Those of the worker; in most of them there is nothing."""
WORKER = UUID(int=1)
DIALECT = PostgreSQL(Names())
STATEMENTS = Statements(build(Names()), DIALECT)


def fill(
    connection: psycopg.Connection[Any],
    count: int,
    priority: str = "0",
    run_at: str = "now() - interval '1 hour' + n * interval '1 ms'",
    queue: str = "all",
) -> None:
    """Store ``count`` waiting tasks; ``priority`` and ``run_at`` are SQL over a number ``n``."""
    connection.execute(
        f"""
        insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
        select gen_random_uuid(), '{queue}', {priority}, {run_at}, now(), 0, 'tests:f'
          from generate_series(1, {count}) n
        """
    )
    connection.execute(
        "insert into alligator_payloads select id, '{}' from alligator_tasks on conflict do nothing"
    )


def big(connection: psycopg.Connection[Any]) -> None:
    fill(connection, MANY, priority="n % 3")
    fill(connection, 1000, queue="other")
    connection.execute("analyze")


def analysed_while_empty(connection: psycopg.Connection[Any]) -> None:
    connection.execute("analyze")
    fill(connection, MANY)


def never_analysed(connection: psycopg.Connection[Any]) -> None:
    fill(connection, MANY)


def mostly_for_tomorrow(connection: psycopg.Connection[Any]) -> None:
    fill(connection, MANY, priority="5", run_at="now() + interval '1 day' + n * interval '1 ms'")
    fill(connection, 1000)
    connection.execute("analyze")


def mostly_in_another_queue(connection: psycopg.Connection[Any]) -> None:
    fill(connection, MANY, queue="other")
    fill(connection, 1000)
    connection.execute("analyze")


def analysed_while_full(connection: psycopg.Connection[Any]) -> None:
    fill(connection, MANY)
    connection.execute("analyze")
    connection.execute("delete from alligator_tasks where run_at > now() - interval '59 minutes'")


def one_of_many_small_queues_when_analysed(connection: psycopg.Connection[Any]) -> None:
    """The planner expects fewer tasks than a claim takes."""
    fill(connection, 20_000)
    connection.execute("update alligator_tasks set queue = 'queue-' || floor(2000 * random())")
    connection.execute("analyze")
    fill(connection, MANY)


SITUATIONS: dict[str, Callable[[psycopg.Connection[Any]], None]] = {
    function.__name__: function
    for function in (
        big,
        analysed_while_empty,
        never_analysed,
        mostly_for_tomorrow,
        mostly_in_another_queue,
        analysed_while_full,
        one_of_many_small_queues_when_analysed,
    )
}


@pytest.fixture(scope="module", params=list(SITUATIONS.values()), ids=list(SITUATIONS))
def database(request, postgres_server) -> Iterator[str]:
    name = postgres_server.create_database(postgres_server.upgraded)
    with psycopg.connect(postgres_server.dsn(name), autocommit=True) as connection:
        connection.execute("alter table alligator_tasks set (autovacuum_enabled = off)")
        connection.execute("alter table alligator_payloads set (autovacuum_enabled = off)")
        connection.execute(
            "insert into alligator_workers (id, expires_at, started_at, pid, host, queues) "
            "values (%s, now() + interval '1 day', now(), 1, 'here', '[]')",
            (WORKER,),
        )
        request.param(connection)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def connection(database) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose transaction is rolled back, so that each test finds all tasks."""
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(params=MODES)
def mode(request) -> str:
    return str(request.param)


def statement(steps: Any) -> tuple[str, dict[str, Any]]:
    """Return the first statement of ``steps`` with its parameters."""
    return next(steps)  # type: ignore[no-any-return]


def claim_from(bounds: Sequence[tuple[Place, Mark]]) -> tuple[str, dict[str, Any]]:
    return statement(DIALECT._claim_from(bounds, QUEUES, BATCH, WORKER, begins=True))


def places(connection: psycopg.Connection[Any]) -> list[Place]:
    """Return where there are tasks."""
    found = connection.execute(
        "select distinct queue, priority from alligator_tasks where queue = any(%s)", (QUEUES,)
    )
    return in_order(QUEUES, found.fetchall())


def hold(connection: psycopg.Connection[Any]) -> list[tuple[UUID, int]]:
    """Claim a batch and return the ids and the leases."""
    sql, values = claim_from([(place, FRONT) for place in places(connection)])
    Prepared(connection, "hold", sql).analyze(values, "auto")
    held = connection.execute("select id, lease from alligator_tasks where status = 6").fetchall()
    assert len(held) == BATCH
    return held


def taken(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """Return how many tasks the transaction has claimed, and how many it has locked in vain."""
    mine = "cast(cast(pg_current_xact_id() as text) as xid)"
    [(claimed, locked)] = connection.execute(
        f"select count(*) filter (where xmin = {mine}), "
        f"count(*) filter (where xmin <> {mine} and xmax = {mine}) from alligator_tasks"
    )
    return claimed, locked


def check(plan: Plan) -> None:
    """Refuse whatever reads more of the tasks than it has to."""
    for node in plan.scans("alligator_tasks"):
        by_id = by_primary_key(node)
        assert by_id or node["Node Type"] in ("Index Scan", "Index Only Scan", "Tid Scan"), plan
    for kind in ("Hash", "Merge Join"):
        assert not plan.nodes(kind), plan
    for node in plan.nodes("Sort"):
        (sorted_rows,) = [one for one in node["Plans"] if one["Parent Relationship"] == "Outer"]
        assert sorted_rows["Node Type"] == "CTE Scan", plan  # those that were claimed
        assert node.get("Actual Rows", 0) <= BATCH, plan


def by_primary_key(node: Any) -> bool:
    """Whether a bitmap scan reads given ids only: that is bounded, and as fast as an index scan."""
    inner = Plan(node).nodes("Bitmap Index Scan")
    return [one["Index Name"] for one in inner] == ["alligator_tasks_pkey"] and (
        inner[0]["Index Cond"].startswith("(id = ")
    )


def test_a_claim(connection, mode):
    found = places(connection)
    sql, values = claim_from([(place, FRONT) for place in found])
    claim = Prepared(connection, "claim", sql)
    check(claim.explain(values, mode))

    plan = claim.analyze(values, mode)
    check(plan)
    (locked,) = plan.nodes("LockRows")
    assert locked["Actual Rows"] * locked["Actual Loops"] == BATCH, plan
    assert plan.root["Actual Rows"] == BATCH
    # those it locks, those it updates, and no more
    assert plan.visited("alligator_tasks") <= 2 * BATCH + len(found), plan
    assert taken(connection) == (BATCH, 0)


def test_a_claim_whose_plan_was_made_while_there_was_nothing(postgres_server):
    """It is kept as long as the connection, so it must be good for ever."""
    name = postgres_server.create_database(postgres_server.upgraded)
    dsn = postgres_server.dsn(name)
    sql, values = claim_from([(("all", 0), FRONT)])
    with (
        psycopg.connect(dsn) as connection,
        psycopg.connect(dsn, autocommit=True) as other,
    ):
        for table in ("tasks", "payloads"):
            other.execute(f"alter table alligator_{table} set (autovacuum_enabled = off)")
        other.execute("analyze")
        claim = Prepared(connection, "claim", sql)
        connection.execute(PLAN_ONCE)
        assert claim.analyze(values, "force_generic_plan").root["Actual Rows"] == 0
        connection.commit()
        other.execute(
            "insert into alligator_workers (id, expires_at, started_at, pid, host, queues) "
            "values (%s, now() + interval '1 day', now(), 1, 'here', '[]')",
            (WORKER,),
        )
        fill(other, MANY)

        connection.execute(PLAN_ONCE)
        plan = claim.analyze(values, "force_generic_plan")
        check(plan)
        assert plan.root["Actual Rows"] == BATCH
        assert plan.visited("alligator_tasks") <= 2 * BATCH + 1, plan
        assert taken(connection) == (BATCH, 0)
        connection.rollback()
    postgres_server.drop_database(name)


def test_a_claim_from_many_queues(connection, mode):
    """Those without tasks cost nothing that can be counted, those behind are not looked at."""
    empty = [(f"empty-{number}", 0) for number in range(200)]
    found = places(connection)
    bounds = [(place, FRONT) for place in (*empty, *found, ("other", 0))]
    queues = [queue for (queue, _), _ in bounds]
    sql, values = statement(DIALECT._claim_from(bounds, queues, BATCH, WORKER, begins=True))
    claim = Prepared(connection, "claim", sql)
    check(claim.explain(values, mode))
    plan = claim.analyze(values, mode)
    check(plan)
    assert plan.root["Actual Rows"] == BATCH
    (locking,) = plan.nodes("LockRows")
    assert len(empty) < locking["Actual Loops"] <= len(bounds) - 1, plan
    assert plan.blocks <= 20 * BATCH + 10 * len(bounds), plan
    assert taken(connection) == (BATCH, 0)
    claimed = connection.execute("select distinct queue from alligator_tasks where status = 6")
    assert claimed.fetchall() == [("all",)]


def test_a_claim_that_goes_on_after_a_mark(connection, mode):
    run_at, task_id = connection.execute(
        "select cast(extract(epoch from run_at) as float8), id from alligator_tasks "
        "where queue = 'all' and priority = 0 and run_at <= now() order by run_at, id "
        "limit 1 offset 500"
    ).fetchone()
    sql, values = claim_from([(("all", 0), Mark(run_at, task_id))])
    claim = Prepared(connection, "claim", sql)
    check(claim.explain(values, mode))
    plan = claim.analyze(values, mode)
    check(plan)
    assert plan.root["Actual Rows"] == BATCH
    assert plan.visited("alligator_tasks") <= 2 * BATCH + 1, plan
    first = connection.execute(
        "select id from alligator_tasks where status = 6 order by run_at, id limit 1"
    )
    assert first.fetchone() == (task_id,)


def test_a_claim_from_a_paused_queue(connection, mode):
    """It reads no task at all, so a pause over a long queue costs nothing."""
    found = places(connection)
    connection.execute("insert into alligator_queues values ('all', now())")
    sql, values = claim_from([(place, FRONT) for place in found])
    plan = Prepared(connection, "claim", sql).analyze(values, mode)
    assert plan.root["Actual Rows"] == 0
    assert plan.visited("alligator_tasks") == 0, plan
    (looked,) = plan.scans("alligator_queues")
    assert looked["Actual Loops"] == len(found), plan


def test_the_search_for_priorities(connection, mode):
    search = Prepared(connection, "search", DIALECT._priorities)
    plan = search.analyze({"queues": DIALECT.names(QUEUES)}, mode)
    check(plan)
    assert plan.visited("alligator_tasks") <= 2 * plan.root["Actual Rows"] + len(QUEUES), plan


def test_an_acknowledgement(connection, mode):
    rows = [Ended(task_id, lease, SUCCESS, None, 0) for task_id, lease in hold(connection)]
    sql, values = statement(DIALECT.end(WORKER, rows))
    check_batch(Prepared(connection, "end", sql), values, mode)


def test_an_acknowledgement_beside_a_long_history(connection, mode):
    connection.execute(
        f"""
        insert into alligator_finished (id, run_at, created_at, finished_at, attempts, priority,
                                        status, crashes, queue, func)
        select gen_random_uuid(), now(), now(), now(), 1, 0, {SUCCESS}, 0, 'all', 'tests:f'
          from generate_series(1, 20000)
        """
    )
    rows = [Ended(task_id, lease, SUCCESS, None, 0) for task_id, lease in hold(connection)]
    sql, values = statement(DIALECT.end(WORKER, rows))
    plan = Prepared(connection, "end", sql).analyze(values, mode)
    check(plan)
    assert plan.visited("alligator_finished") == 0, plan


def test_a_hand_back(connection, mode):
    rows = [PutBack(task_id, lease, WAITING, None, 1) for task_id, lease in hold(connection)]
    sql, values = statement(DIALECT.put_back(WORKER, rows))
    check_batch(Prepared(connection, "put_back", sql), values, mode)


def test_a_hand_back_of_canceled_tasks(connection, mode):
    """They are left by the statement that puts back, whose plan must not change for it."""
    rows = [PutBack(task_id, lease, WAITING, None, 1) for task_id, lease in hold(connection)]
    connection.execute("update alligator_tasks set canceled_at = now() where status = 6")
    sql, values = statement(DIALECT.put_back(WORKER, rows))
    plan = Prepared(connection, "put_back", sql).analyze(values, mode)
    check(plan)
    assert plan.root["Actual Rows"] == 0


def test_the_search_for_canceled_tasks(connection, mode):
    held = [task_id for task_id, _ in hold(connection)]
    connection.execute("update alligator_tasks set canceled_at = now() where status = 6")
    sql, values = statement(DIALECT.canceled(WORKER, held))
    check_batch(Prepared(connection, "canceled", sql), values, mode)


def test_a_completion(connection, mode):
    (task_id, lease), *_ = hold(connection)
    sql, values = statement(DIALECT.complete(WORKER, Ended(task_id, lease, SUCCESS, None, 0)))
    plan = Prepared(connection, "complete", sql).analyze(values, mode)
    check(plan)
    assert plan.root["Actual Rows"] == 1
    assert plan.visited("alligator_tasks") == 1, plan


def test_the_begin_of_suspects(connection, mode):
    claims = [claim(task_id, lease) for task_id, lease in hold(connection)]
    sql, values = statement(DIALECT.begin(WORKER, claims))
    check_batch(Prepared(connection, "begin", sql), values, mode)


def test_a_report_of_progress(connection, mode):
    said = {task_id: Progress(50.0, "half of it") for task_id, _ in hold(connection)}
    sql, values = statement(DIALECT.report(WORKER, said))
    check(Prepared(connection, "report", sql).explain(values, mode))


def claim(task_id: UUID, lease: int) -> Claim:
    return Claim(task_id, "all", "tests:f", "{}", lease, WORKER, 1, 0, 0.0)


def check_batch(prepared: Prepared, values: dict[str, Any], mode: str) -> None:
    check(prepared.explain(values, mode))
    plan = prepared.analyze(values, mode)
    check(plan)
    assert plan.root["Actual Rows"] == BATCH
    assert plan.visited("alligator_tasks") == BATCH, plan


def test_the_search_for_the_next_due_task(connection, mode):
    asked = STATEMENTS.next_due.params(queues=DIALECT.names(QUEUES))
    plan = Prepared(connection, "next_due", asked).analyze({}, mode)
    check(plan)
    assert plan.visited("alligator_tasks") <= 3 * len(places(connection)) + len(QUEUES), plan


def test_one_task_by_its_id(connection, mode):
    (task_id,) = connection.execute("select id from alligator_tasks limit 1").fetchone()
    sql, values = statement(DIALECT.claim_one(task_id, WORKER))
    plan = Prepared(connection, "claim_one", sql).analyze(values, mode)
    check(plan)
    assert plan.visited("alligator_tasks") == 2


@pytest.mark.parametrize(
    "name",
    [
        *("claim", "priorities", "claim_one", "begin", "end", "forget", "put_back"),
        *("may_complete", "canceled", "report"),
    ],
)
def test_sqlite_reads_no_table_from_end_to_end(sqlite_dsn, name):
    connection = sqlite3.connect(str(make_url(sqlite_dsn).database))
    sql = getattr(SQLite(Names()), f"_{name}")
    values = dict.fromkeys(re.findall(r":(\w+)", sql))
    plan = [row[3] for row in connection.execute(f"explain query plan {sql}", values)]
    connection.close()
    tasks = [step for step in plan if re.search(r"alligator_\w+|\bt\b", step)]
    assert tasks
    assert all(step.startswith("SEARCH") for step in tasks), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
