"""``gator.using(x)``: tasks that commit and roll back with the application's own rows."""

import asyncio
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import make_url

from alligator_sql import Gator
from alligator_sql.exceptions import AlligatorException, Unsupported
from alligator_sql.ids import id_of
from tests.helpers import PATIENCE

from . import callers, tasks

Observe = Callable[[str], Sequence[Any]]
"""Runs a statement on a connection of its own, outside of the application's transaction."""

CONTROL = ("commit", "end", "rollback", "savepoint", "release", "begin", "start")


class WaitsForNews(threading.Thread):
    """Listens as a worker does; ``woken`` is set by the first news after ``listening``."""

    def __init__(self, gator: Gator) -> None:
        super().__init__(daemon=True)
        self.gator = gator
        self.listening = threading.Event()
        self.woken = threading.Event()

    def run(self) -> None:
        self.gator.store.listen(["all"], 0)  # the first call only sets the listener up
        self.listening.set()
        if self.gator.store.listen(["all"], PATIENCE):
            self.woken.set()


REFUSED = (
    ("task", tasks.add, 1, 2, 3),
    ("task", lambda: None),
    ("task", tasks.echo, math.nan),
    ("task", tasks.echo, object()),
    ("task", tasks.echo, "x" * 1024 * 1024),
    ("task", sqlite3.connect, "x"),
    ("map", tasks.echo, [1, 2, math.nan, 4]),
)
"""Calls that cannot be stored: wrong arguments, no name, not JSON, too large, forbidden."""


@pytest.fixture(scope="module")
def database(postgres_server) -> Iterator[str]:
    """One PostgreSQL database for many tests: to make one takes longer than a test."""
    name = postgres_server.create_database(postgres_server.upgraded)
    with psycopg.connect(postgres_server.dsn(name)) as connection:
        connection.execute("create table orders (name text)")
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


class Joining:
    """What holds on every database and for every kind of connection."""

    def test_commit_makes_the_task_runnable_and_wakes_a_worker(self, caller, gator, observe):
        waits = WaitsForNews(gator)
        waits.start()
        assert waits.listening.wait(PATIENCE)

        caller.begin()
        task = caller.task(gator.using(caller.connection), tasks.add, 1, b=2)
        assert gator.find(task.task_id) is None
        assert not waits.woken.is_set()
        caller.commit()

        assert waits.woken.wait(PATIENCE)
        waits.join()
        assert observe("select name from orders") == [("begun",)]
        assert gator.find(task.task_id).status_name == "waiting"
        assert gator.pop() == 3

    def test_rollback_leaves_nothing(self, caller, gator, observe):
        caller.begin()
        view = gator.using(caller.connection)
        caller.task(view, tasks.add, 1, 2)
        assert caller.map(view, tasks.echo, range(3)) == 3
        assert caller.execute("select count(*) from alligator_tasks") == [(4,)]
        caller.rollback()

        assert observe("select count(*) from alligator_tasks") == [(0,)]
        assert observe("select count(*) from alligator_payloads") == [(0,)]
        assert observe("select count(*) from orders") == [(0,)]

    def test_rollback_to_a_savepoint_leaves_nothing_of_it_and_all_of_the_rest(
        self, caller, gator, observe
    ):
        caller.begin()
        view = gator.using(caller.connection)
        before = caller.task(view, tasks.echo, "before")
        caller.savepoint()
        inside = caller.task(view, tasks.echo, "inside")
        caller.map(view, tasks.echo, range(10))
        caller.rollback_to_savepoint()
        after = caller.task(view, tasks.echo, "after")
        caller.commit()

        assert gator.find(inside.task_id) is None
        assert observe("select count(*) from alligator_payloads") == [(2,)]
        assert stored_ids(observe) == {id_of(before.task_id), id_of(after.task_id)}
        assert [gator.pop(), gator.pop(), gator.pop()] == ["before", "after", None]

    def test_map_of_several_batches_is_all_or_nothing(self, caller, gator, observe):
        many = 2500
        caller.begin()
        assert caller.map(gator.using(caller.connection), tasks.echo, range(many)) == many
        assert observe("select count(*) from alligator_tasks") == [(0,)]
        caller.rollback()
        assert observe("select count(*) from alligator_payloads") == [(0,)]

        caller.begin()
        assert caller.map(gator.using(caller.connection), tasks.echo, range(many)) == many
        caller.commit()
        assert gator.len() == many
        assert [gator.pop(), gator.pop()] == [0, 1]

    def test_map_whose_third_batch_fails_leaves_nothing_after_a_rollback(
        self, caller, gator, observe
    ):
        caller.begin()
        with pytest.raises(AlligatorException, match="float"):
            caller.map(gator.using(caller.connection), tasks.echo, [*range(2400), math.inf])
        caller.execute("insert into orders (name) values ('still usable')")
        caller.rollback()
        assert observe("select count(*) from alligator_tasks") == [(0,)]
        assert observe("select count(*) from alligator_payloads") == [(0,)]

    def test_options_hold_for_the_view(self, caller, gator):
        caller.begin()
        view = gator.using(caller.connection)
        with view.options(queue="mail", priority=7, retries=2, tags=["a"], delay_by=60) as opts:
            task = caller.task(opts, tasks.echo, 1)
            assert caller.map(opts, tasks.echo, [2, 3]) == 2
        now = caller.task(view.options(queue="mail"), tasks.echo, "now")
        caller.commit()

        record = gator.find(task.task_id)
        assert (record.queue, record.priority, record.tags) == ("mail", 7, ("a",))
        assert record.status_name == "delayed"
        assert (record.run_at - record.created_at).total_seconds() == pytest.approx(60, abs=0.01)
        assert gator.find(now.task_id).status_name == "waiting"
        assert gator.store.len("mail") == 4

    def test_a_duplicate_is_found_within_and_before_the_transaction(self, caller, gator, observe):
        def once(view: Any, value: int) -> Any:
            return caller.task(view.options(unique_key="report"), tasks.echo, value)

        caller.begin()
        first = once(gator.using(caller.connection), 1)
        second = once(gator.using(caller.connection), 2)
        assert (first.duplicate, second.duplicate) == (False, True)
        assert second.task_id == first.task_id
        assert second.func_args == (1,)
        caller.commit()

        caller.begin()
        third = once(gator.using(caller.connection), 3)
        assert (third.task_id, third.duplicate) == (first.task_id, True)
        caller.execute("insert into orders (name) values ('usable after a duplicate')")
        caller.commit()
        assert observe("select count(*) from orders") == [(3,)]
        assert observe("select count(*) from alligator_payloads") == [(1,)]

    def test_a_transaction_may_begin_with_the_task(self, caller, gator, observe):
        """The sqlite3 module for one has to notice that it must begin a transaction."""
        caller.start()
        caller.task(gator.using(caller.connection), tasks.echo, 1)
        caller.rollback()
        assert observe("select count(*) from alligator_tasks") == [(0,)]
        assert observe("select count(*) from alligator_payloads") == [(0,)]

    def test_what_is_refused_does_not_touch_an_idle_connection(self, caller, gator):
        gator.open()
        view = gator.using(caller.connection)
        for method, *arguments in REFUSED:
            with pytest.raises(AlligatorException):
                getattr(caller, method)(view, *arguments)
            assert not caller.in_transaction()

    def test_what_is_refused_leaves_a_transaction_in_progress_alone(
        self, caller, gator, observe, activity
    ):
        caller.begin()
        view = gator.using(caller.connection)
        done = caller.task(view, tasks.echo, "good")
        before = activity()
        for method, *arguments in REFUSED:
            with pytest.raises(AlligatorException):
                getattr(caller, method)(view, *arguments)
        with pytest.raises(AlligatorException, match="retrys"):
            view.options(retrys=3)
        with pytest.raises(AlligatorException, match="priority"):
            caller.task(view.options(priority=10**6), tasks.echo)
        with pytest.raises(Unsupported, match="depends_on"):
            caller.task(view.options(depends_on=["x"]), tasks.echo)
        assert activity() == before

        also = caller.task(view, tasks.echo, "also good")
        caller.commit()
        assert stored_ids(observe) == {id_of(done.task_id), id_of(also.task_id)}

    def test_a_synchronous_method_refuses_an_asynchronous_connection_and_not_the_reverse(
        self, caller, gator, activity
    ):
        caller.begin()
        before = activity()
        view = gator.using(caller.connection)
        if not caller.is_async:
            assert not asyncio.run(view.atask(tasks.echo, 1)).duplicate
            assert asyncio.run(view.amap(tasks.echo, range(3))) == 3
            assert caller.execute("select count(*) from alligator_tasks") == [(4,)]
            caller.rollback()
            return
        with pytest.raises(Unsupported, match=r"asynchronous: await atask\(\) or amap\(\)"):
            view.task(tasks.echo, 1)
        with pytest.raises(Unsupported, match="asynchronous"):
            view.map(tasks.echo, [1])
        assert activity() == before
        caller.rollback()

    def test_the_first_use_of_a_gator_may_be_inside_a_transaction(self, caller, gator, observe):
        gator.close()
        fresh = Gator(gator.conn_string)
        caller.begin()
        caller.task(fresh.using(caller.connection), tasks.echo, 1)
        caller.rollback()
        assert observe("select count(*) from alligator_payloads") == [(0,)]
        caller.begin()
        task = caller.task(fresh.using(caller.connection), tasks.echo, 2)
        caller.commit()
        assert stored_ids(observe) == {id_of(task.task_id)}
        fresh.close()


class TestPostgreSQL(Joining):
    @pytest.fixture(params=callers.POSTGRESQL, ids=lambda kind: kind.__name__)
    def caller(self, request, database) -> Iterator[callers.Caller]:
        caller = request.param(database)
        yield caller
        caller.close()

    @pytest.fixture
    def gator(self, database) -> Iterator[Gator]:
        gator = Gator(database)
        yield gator
        gator.close()

    @pytest.fixture
    def observe(self, database) -> Iterator[Observe]:
        with psycopg.connect(database, autocommit=True) as connection:
            yield lambda sql: connection.execute(sql).fetchall()
            tables = ("orders", "tasks", "payloads", "finished", "errors", "results", "workers")
            for table in tables:
                prefix = "" if table == "orders" else "alligator_"
                connection.execute(f"delete from {prefix}{table}")

    @pytest.fixture(autouse=True)
    def _emptied(self, observe, caller) -> None:
        """Every test empties the tables, after the application has gone."""

    @pytest.fixture
    def activity(self, caller, observe) -> Callable[[], Any]:
        """What the server says of the application's connection; any statement changes it."""

        def activity() -> Any:
            return observe(
                "select pid, state, query, query_start, state_change from pg_stat_activity "
                "where pid <> pg_backend_pid() and datname = current_database() "
                "and application_name <> 'alligator-sql' and state is not null"
            )

        return activity

    def test_the_row_belongs_to_the_very_transaction_and_to_no_savepoint(
        self, caller, gator, observe
    ):
        """The rows carry the transaction's own id: none ended, and none began inside it."""
        caller.begin()
        (id_before,) = caller.execute("select cast(pg_current_xact_id() as text)")[0]
        view = gator.using(caller.connection)
        caller.task(view, tasks.echo, 1)
        caller.map(view, tasks.echo, range(1200))
        caller.task(view.options(unique_key="one"), tasks.echo, 1)
        caller.task(view.options(unique_key="one"), tasks.echo, 2)
        writers = caller.execute(
            "select distinct cast(xmin as text) from alligator_tasks "
            "union select cast(xmin as text) from alligator_payloads"
        )
        assert writers == [(id_before,)]
        assert caller.execute("select cast(pg_current_xact_id() as text)") == [(id_before,)]
        caller.rollback()
        assert observe("select count(*) from alligator_tasks") == [(0,)]

    def test_a_connection_to_another_kind_of_database_is_refused(self, caller, sqlite_dsn):
        gator = Gator(sqlite_dsn)
        caller.begin()
        refused = r"leads to postgresql, but .* in sqlite.*Join a connection to the database of the"
        with pytest.raises(Unsupported, match=refused):
            caller.task(gator.using(caller.connection), tasks.echo, 1)
        caller.execute("insert into orders (name) values ('still usable')")
        caller.commit()
        gator.close()


class TestSQLite(Joining):
    @pytest.fixture(params=callers.SQLITE, ids=lambda kind: kind.__name__)
    def caller(self, request, sqlite_dsn) -> Iterator[callers.Caller]:
        run_on_sqlite(sqlite_dsn, "create table orders (name text)")
        caller = request.param(sqlite_dsn)
        yield caller
        caller.close()

    @pytest.fixture
    def gator(self, sqlite_dsn) -> Iterator[Gator]:
        gator = Gator(sqlite_dsn)
        yield gator
        gator.close()

    @pytest.fixture
    def observe(self, sqlite_dsn) -> Observe:
        return lambda sql: run_on_sqlite(sqlite_dsn, sql)

    @pytest.fixture
    def activity(self, caller) -> Callable[[], Any]:
        """The statements that have reached the application's connection."""
        statements: list[str] = []
        traced = threading.Event()

        def activity() -> Any:
            if not traced.is_set():
                caller.trace(statements)
                traced.set()
            return list(statements)

        return activity

    def test_no_statement_controls_the_transaction(self, caller, gator):
        caller.begin()
        statements: list[str] = []
        caller.trace(statements)
        view = gator.using(caller.connection)
        caller.task(view, tasks.echo, 1)
        caller.map(view, tasks.echo, range(1200))
        caller.task(view.options(unique_key="one"), tasks.echo, 1)
        caller.task(view.options(unique_key="one"), tasks.echo, 2)
        firsts = {statement.split()[0].lower() for statement in statements}
        assert "insert" in firsts
        assert not firsts & set(CONTROL)
        caller.rollback()

    def test_a_connection_to_another_kind_of_database_is_refused(self, caller, postgres18_dsn):
        gator = Gator(postgres18_dsn)
        refused = r"leads to sqlite, but .* in postgresql.*Join a connection to the database of the"
        caller.begin()
        with pytest.raises(Unsupported, match=refused):
            caller.task(gator.using(caller.connection), tasks.echo, 1)
        caller.execute("insert into orders (name) values ('still usable')")
        caller.commit()
        gator.close()


def stored_ids(observe: Observe) -> set[UUID]:
    """Return the ids of all live tasks that have a payload."""
    rows = observe(
        "select cast(t.id as text) from alligator_tasks t join alligator_payloads using (id)"
    )
    return {UUID(task_id) for (task_id,) in rows}


def run_on_sqlite(dsn: str, sql: str) -> list[Any]:
    connection = sqlite3.connect(str(make_url(dsn).database))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
