"""No plan outlives the state of the tables for which it was made.

PostgreSQL keeps the plan of a prepared statement until the next ANALYZE. A worker or a
producer that was there while the tables were empty would read all of them for each task,
with the plan that was best then, once a hundred thousand tasks have come. Only the claim keeps
its plan, for which there is one way only; see test_claim_plan.
"""

from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from alligator_sql import Gator
from tests.helpers import wait_until

from . import callers, tasks

OFTEN = 12
"""More than the five executions each after which psycopg prepares and PostgreSQL plans for good."""
PREPARED = """
    select coalesce(sum(generic_plans), 0) as generic, coalesce(sum(custom_plans), 0) as custom
      from pg_prepared_statements where statement like '%alligator_tasks%'
"""
IS_CLAIM = "statement like '%with pick %'"


def test_a_gators_own_statements_are_prepared_and_still_planned_each_time_but_for_claims(
    postgres_dsn,
):
    gator = Gator(postgres_dsn)
    for number in range(OFTEN):
        gator.task(tasks.echo, number)
    assert [gator.pop() for _ in range(OFTEN)] == list(range(OFTEN))
    with gator.backend.engine.connect() as connection:
        generic, custom = connection.execute(text(f"{PREPARED} and not {IS_CLAIM}")).one()
        assert generic == 0
        assert custom > 0

        generic, custom = connection.execute(text(f"{PREPARED} and {IS_CLAIM}")).one()
        assert generic > 0
        assert custom == 0
        assert connection.scalar(text("show plan_cache_mode")) == "force_custom_plan"
        assert connection.scalar(text("show enable_seqscan")) == "on"
    gator.close()


def test_a_shared_engine_keeps_no_plan_of_ours_and_its_own_ways(postgres_dsn):
    engine = create_engine(postgres_dsn.replace("postgresql:", "postgresql+psycopg:"))
    gator = Gator(engine=engine)
    for number in range(OFTEN):
        gator.task(tasks.echo, number)
    assert [gator.pop() for _ in range(OFTEN)] == list(range(OFTEN))
    with engine.connect() as connection:
        assert connection.execute(text(PREPARED)).one() == (0, 0)
        assert connection.scalar(text("show plan_cache_mode")) == "auto"
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold == 5
    engine.dispose()


@pytest.mark.parametrize("kind", callers.POSTGRESQL, ids=lambda kind: kind.__name__)
def test_a_joined_connection_keeps_no_plan_of_ours(postgres18_dsn, kind):
    gator = Gator(postgres18_dsn)
    with psycopg.connect(postgres18_dsn) as connection:
        connection.execute("create table orders (name text)")
    caller = kind(postgres18_dsn)
    caller.begin()
    for number in range(OFTEN):
        caller.task(gator.using(caller.connection), tasks.echo, number)
    assert caller.execute(PREPARED) == [(0, 0)]
    caller.commit()
    caller.close()
    gator.close()


def test_tables_that_grow_from_nothing_are_not_read_from_end_to_end(postgres_dsn):
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("alter table alligator_tasks set (autovacuum_enabled = off)")
        connection.execute("alter table alligator_payloads set (autovacuum_enabled = off)")
        connection.execute("analyze")
        gator = Gator(postgres_dsn)
        for number in range(OFTEN):
            assert gator.pop() is None
            gator.task(tasks.echo, number)
            assert gator.pop() == number
        gator.map(tasks.echo, range(20_000))
        for number in range(100):
            gator.task(tasks.echo, number)
            assert gator.pop() == number
        gator.close()  # only now the server hears what the connections have read

        def reported() -> list[tuple[str, int]]:
            return connection.execute(
                "select relname, seq_tup_read from pg_stat_user_tables "
                "where relname in ('alligator_tasks', 'alligator_payloads') and n_tup_ins > 20000"
            ).fetchall()

        wait_until(lambda: len(reported()) == 2)
        # A map of 1,000 may well read the whole table once, but not once for each task.
        assert all(rows < 500_000 for _, rows in reported()), reported()
