"""What becomes of workers and callers while the database has trouble, and afterwards."""

import logging
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import create_engine, event

from alligator_sql import Gator, QueueFull, Worker
from alligator_sql.backends.sql import connections, engines, schema, sessions
from alligator_sql.exceptions import StoreUnavailableError
from tests.helpers import PATIENCE, Background, wait_until
from tests.postgres_clusters import Cluster
from tests.proxy import Proxy

from . import gates, tasks

pytestmark = pytest.mark.slow

TROUBLE = "the store has trouble, trying on"
WELL_AGAIN = "the store works again"
FAIL: LiteralString = """
    create or replace function fail() returns trigger language plpgsql as $$
        begin raise exception 'simulated' using errcode = tg_argv[0]; end
    $$
"""
FAIL_TWICE: LiteralString = """
    create or replace function fail_twice() returns trigger language plpgsql as $$
        begin
            if nextval('failures') <= 2 then
                raise exception 'simulated' using errcode = tg_argv[0];
            end if;
            return new;
        end
    $$
"""


@pytest.fixture(scope="module")
def cluster(postgres18_server) -> Iterator[Cluster]:
    with Cluster.like(postgres18_server) as cluster:
        schema.upgrade(cluster.dsn())
        cluster.execute("create role app login")
        cluster.execute(
            "grant select, insert, update, delete on all tables in schema public to app"
        )
        cluster.execute(FAIL)
        cluster.execute(FAIL_TWICE)
        cluster.execute("create sequence failures")
        cluster.execute("grant all on sequence failures to app")
        yield cluster


@pytest.fixture(autouse=True)
def _afresh(caplog) -> None:
    gates.reset()
    caplog.set_level(logging.WARNING)


@pytest.fixture
def emptied(cluster: Cluster) -> Cluster:
    cluster.execute("truncate alligator_tasks, alligator_payloads, alligator_finished")
    return cluster


@contextmanager
def opened(dsn: str) -> Iterator[Gator]:
    gator = Gator(dsn)
    try:
        yield gator
    finally:
        gator.close()


@contextmanager
def working(gator: Gator) -> Iterator[Worker]:
    worker = Worker(gator)
    running = Background(worker.run_forever)
    try:
        yield worker
    finally:
        gates.current.opened.set()
        worker.stop()
        assert running.result() == 0


def survives(gator: Gator, trouble: AbstractContextManager[object], caplog: Any) -> None:
    """Let a task end amid ``trouble``: its outcome is kept, and the worker goes on."""
    with working(gator) as worker:
        during = gator.task(gates.gate, "during")
        assert gates.current.entered.wait(PATIENCE)
        with trouble:
            gates.current.opened.set()
            wait_until(lambda: worker._consumer._failures >= 2)  # type: ignore[union-attr]
        wait_until(lambda: WELL_AGAIN in caplog.text)
        wait_until(lambda: gator.find(during.task_id).status_name == "success")  # type: ignore[union-attr]
        gator.task(gates.quick, "after")
        wait_until(lambda: "after" in gates.current.ran)
    assert gates.current.ran == ["during", "after"]
    assert caplog.text.count(TROUBLE) == caplog.text.count(WELL_AGAIN) == 1


@contextmanager
def stopped(cluster: Cluster) -> Iterator[None]:
    cluster.stop()
    try:
        yield
    finally:
        cluster.start()


@contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    cluster.freeze()
    try:
        yield
    finally:
        cluster.thaw()


@contextmanager
def read_only(cluster: Cluster) -> Iterator[None]:
    """What a primary that became a standby says, on the connections that it had."""
    cluster.execute("alter system set default_transaction_read_only = on")
    cluster.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        cluster.execute("alter system reset default_transaction_read_only")
        cluster.execute("select pg_reload_conf()")


@contextmanager
def crowded(cluster: Cluster) -> Iterator[None]:
    """The server has no connection left."""
    cluster.execute("alter role app connection limit 0")
    cluster.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
    try:
        yield
    finally:
        cluster.execute("alter role app connection limit -1")


@contextmanager
def forbidden(cluster: Cluster) -> Iterator[None]:
    cluster.execute("revoke all on alligator_finished from app")
    try:
        yield
    finally:
        cluster.execute("grant select, insert, update, delete on alligator_finished to app")


@contextmanager
def locked(cluster: Cluster) -> Iterator[None]:
    with psycopg.connect(cluster.dsn()) as holder:
        holder.execute("lock table alligator_tasks in access exclusive mode")
        yield


@contextmanager
def failing(cluster: Cluster, state: LiteralString) -> Iterator[None]:
    """The end of a task cannot be written."""
    cluster.execute(
        "create trigger fails before insert on alligator_finished "
        f"for each row execute function fail('{state}')"
    )
    try:
        yield
    finally:
        cluster.execute("drop trigger fails on alligator_finished")


class TestWorkers:
    @pytest.mark.parametrize("trouble", [stopped, read_only, crowded, forbidden])
    def test_outlive(self, emptied, caplog, trouble: Callable[..., Any]):
        with opened(emptied.dsn().replace("postgres@", "app@")) as gator:
            survives(gator, trouble(emptied), caplog)

    @pytest.mark.parametrize(
        "state", ["53100", "40P01", "40001"], ids=["disk-full", "deadlock", "serialization"]
    )
    def test_outlive_errors(self, emptied, caplog, state: LiteralString):
        with opened(emptied.dsn()) as gator:
            survives(gator, failing(emptied, state), caplog)

    @pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
    def test_outlive_statements_that_take_too_long(self, emptied, caplog, limit):
        with opened(emptied.dsn(query=f"options={quote(f'-c {limit}=2000')}")) as gator:
            survives(gator, locked(emptied), caplog)
        assert limit.replace("_", " ") in caplog.text

    def test_outlive_a_server_that_says_nothing_any_more(self, emptied, caplog, monkeypatch):
        """Its system still answers for it, so that no keepalive can tell."""
        monkeypatch.setattr(sessions, "MARGIN", 0.3)
        query = f"connect_timeout=3&options={quote('-c statement_timeout=2700')}"
        with opened(emptied.dsn(query=query)) as gator:
            survives(gator, frozen(emptied), caplog)
        assert "no answer within 3 s" in caplog.text


class TestCallers:
    def test_do_not_notice_a_restart_that_is_over(self, emptied):
        with opened(emptied.dsn()) as gator:
            gator.task(tasks.echo, 1)
            emptied.stop()
            emptied.start()
            assert gator.len() == 1
            gator.task(tasks.echo, 2)
            assert gator.len() == 2

    def test_whose_answer_was_lost_enqueue_once(self, emptied):
        with Proxy(emptied.port) as proxy, opened(emptied.dsn(proxy.port)) as gator:
            gator.task(tasks.echo, "before")
            proxy.swallow("answers")
            enqueued = Background(lambda: gator.task(tasks.echo, "during"))
            self._lose(proxy)
            assert not enqueued.result().duplicate

            proxy.swallow("answers")
            stored = Background(lambda: gator.map(tasks.echo, range(5)))
            self._lose(proxy)
            assert stored.result() == 5
        with opened(emptied.dsn()) as gator:
            assert gator.len() == 7

    def _lose(self, proxy: Proxy) -> None:
        assert proxy.swallowing.wait(PATIENCE)
        proxy.swallow()
        proxy.reset()

    @pytest.mark.parametrize("state", ["40P01", "40001"])
    def test_whose_transaction_was_the_victim_enqueue_all_the_same(self, emptied, state):
        with opened(emptied.dsn()) as gator, self._failing_twice(emptied, state):
            assert not gator.task(tasks.echo, 1).duplicate
            assert gator.len() == 1

    def test_do_not_try_for_ever(self, emptied, monkeypatch):
        monkeypatch.setattr(connections, "ATTEMPTS", 2)
        with (
            opened(emptied.dsn()) as gator,
            self._failing_twice(emptied, "40P01"),
            pytest.raises(StoreUnavailableError, match="The database refuses: simulated"),
        ):
            gator.task(tasks.echo, 1)

    def test_are_told_that_the_disk_is_full(self, emptied):
        with (
            opened(emptied.dsn()) as gator,
            self._failing_twice(emptied, "53100"),
            pytest.raises(QueueFull, match="No room for more tasks"),
        ):
            gator.task(tasks.echo, 1)

    @contextmanager
    def _failing_twice(self, cluster: Cluster, state: LiteralString) -> Iterator[None]:
        cluster.execute("select setval('failures', 1, false)")
        cluster.execute(
            "create trigger fails before insert on alligator_tasks "
            f"for each row execute function fail_twice('{state}')"
        )
        try:
            yield
        finally:
            cluster.execute("drop trigger fails on alligator_tasks")

    def test_on_a_standby_are_told_so_and_look_for_the_primary(self, emptied):
        with opened(emptied.dsn()) as gator:

            def server_process() -> object:
                with gator.store._connections.statement() as connection:  # type: ignore[attr-defined]
                    return connection.exec_driver_sql("select pg_backend_pid()").scalar()

            before = server_process()
            assert server_process() == before
            with (
                read_only(emptied),
                pytest.raises(StoreUnavailableError, match=r"standby.* Connect to the primary"),
            ):
                wait_until(lambda: gator.task(tasks.echo, 1) is None)  # until it is reloaded
            assert server_process() != before

    def test_do_not_wait_for_a_frozen_server_for_ever(self, emptied, monkeypatch):
        monkeypatch.setattr(sessions, "MARGIN", 0.1)
        monkeypatch.setattr(connections, "ATTEMPTS", 1)
        with opened(emptied.dsn(query=f"options={quote('-c statement_timeout=2000')}")) as gator:
            gator.task(tasks.echo, 1)
            with frozen(emptied), pytest.raises(StoreUnavailableError, match="no answer within"):
                gator.task(tasks.echo, 2)
            wait_until(lambda: gator.task(tasks.echo, 3))

    def test_do_not_wait_for_a_port_that_says_nothing(self):
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as silence,
            opened(
                f"postgresql://u@127.0.0.1:{silence.getsockname()[1]}/x?connect_timeout=2"
            ) as gator,
        ):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                gator.task(tasks.echo, 1)
            assert time.monotonic() - began < PATIENCE


class TestFailover:
    def test_to_the_standby_among_the_hosts(self, postgres18_server, caplog):
        with Cluster.like(postgres18_server) as primary:
            schema.upgrade(primary.dsn())
            with primary.standby() as standby:
                # The first one that answers cannot be written to.
                with (
                    opened(primary.dsn(standby.port, primary.port)) as gator,
                    working(gator),
                ):
                    gator.task(gates.quick, "before")
                    wait_until(lambda: "before" in gates.current.ran)
                    self._caught_up(primary)
                    primary.stop()
                    with pytest.raises(StoreUnavailableError):
                        gator.task(gates.quick, "lost")
                    wait_until(lambda: TROUBLE in caplog.text)
                    standby.promote()
                    wait_until(lambda: WELL_AGAIN in caplog.text)
                    gator.task(gates.quick, "after")
                    wait_until(lambda: "after" in gates.current.ran)
                assert "lost" not in gates.current.ran

    def _caught_up(self, primary: Cluster) -> None:
        position = "select pg_current_wal_lsn()"
        wait_until(
            lambda: primary.execute(
                f"select 1 from pg_stat_replication where replay_lsn >= ({position})"
            )
        )


class TestLimits:
    def test_on_our_connections(self, cluster):
        assert self._limits(engines.create(cluster.dsn())) == ["30s", "10s", "30s"]

    def test_that_the_connection_string_sets_stay(self, cluster):
        options = quote("-c statement_timeout=5s -c lock_timeout=2s")
        found = self._limits(engines.create(cluster.dsn(query=f"options={options}")))
        assert found == ["5s", "2s", "30s"]

    def test_that_the_role_has_stay(self, cluster):
        cluster.execute("alter role app set statement_timeout = '3s'")
        try:
            dsn = cluster.dsn().replace("postgres@", "app@")
            assert self._limits(engines.create(dsn)) == ["3s", "10s", "30s"]
        finally:
            cluster.execute("alter role app reset statement_timeout")

    def test_are_not_for_migrations(self, cluster):
        assert self._limits(engines.create(cluster.dsn(), limited=False)) == ["0", "0", "0"]

    def test_are_not_for_the_connections_of_an_application(self, cluster):
        engine = create_engine(cluster.dsn().replace("postgresql:", "postgresql+psycopg:"))
        gator = Gator(engine=engine)
        gator.task(tasks.echo, 1)
        with engine.begin() as connection:
            gator.using(connection).task(tasks.echo, 2)
            gator.store.listen(["all"], 0)
        gator.close()
        assert self._limits(engine) == ["0", "0", "0"]

    def _limits(self, engine: Any) -> list[object]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        with engine.connect() as connection:
            found = [connection.exec_driver_sql(f"show {name}").scalar() for name in names]
        engine.dispose()
        return found


class TestHosts:
    @pytest.mark.parametrize(
        ("given", "host", "port"),
        [
            ("postgresql://u:p@one:5432,two:5433/db", "one,two", "5432,5433"),
            ("postgresql://one,two/db", "one,two", ","),
            ("postgresql://u@/db?host=one:1&host=two:2", "one,two", "1,2"),
        ],
    )
    def test_several_in_one_string(self, given, host, port):
        url = engines.create(given).url
        [], options = url.get_dialect()().create_connect_args(url)
        assert (options["host"], options.get("port")) == (host, port)
        assert options["dbname"] == "db"

    def test_the_string_may_ask_for_any_server(self, cluster, postgres18_server):
        with read_only(cluster):
            dsn = cluster.dsn(cluster.port, cluster.port, query="target_session_attrs=any")
            engine = engines.create(dsn)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("select 1").scalar() == 1
            engine.dispose()


class TestSQLite:
    @pytest.fixture
    def gator(self, sqlite_dsn) -> Iterator[Gator]:
        with opened(sqlite_dsn) as gator:
            yield gator

    def test_workers_outlive_a_file_that_cannot_be_written(self, gator, caplog):
        survives(
            gator, self._told(gator, "pragma query_only = on", "pragma query_only = off"), caplog
        )
        assert "readonly" in caplog.text

    def test_workers_outlive_a_file_that_others_keep_locked(
        self, gator, sqlite_dsn, caplog, monkeypatch
    ):
        survives(gator, self._locked(gator, sqlite_dsn.removeprefix("sqlite:///")), caplog)
        assert "database is locked" in caplog.text

    def test_callers_are_told_that_the_file_cannot_grow(self, gator):
        gator.task(tasks.echo, "small")
        gator.close()  # the next task takes a new connection
        with (
            self._told(gator, "pragma max_page_count = 1", "pragma max_page_count = 4294967294"),
            pytest.raises(QueueFull, match="database or disk is full"),
        ):
            gator.task(tasks.echo, "x" * 500_000)
        assert gator.len() == 1
        assert gator.pop() == "small"
        gator.task(tasks.echo, "x" * 500_000)

    def test_what_is_no_database(self, tmp_path):
        (tmp_path / "tasks.db").write_bytes(b"no database at all" * 1000)
        with (
            opened(f"sqlite:///{tmp_path}/tasks.db") as gator,
            pytest.raises(StoreUnavailableError, match="file is not a database"),
        ):
            gator.task(tasks.echo, 1)

    @contextmanager
    def _told(self, gator: Gator, begin: str, end: str) -> Iterator[None]:
        """Tell something to each connection when it is taken from the pool, while this lasts."""
        engine = gator.store.engine  # type: ignore[attr-defined]
        statement = begin

        @event.listens_for(engine, "checkout")
        def tell(connection: sqlite3.Connection, _record: Any, _proxy: Any) -> None:
            connection.execute(statement)

        yield
        statement = end

    @contextmanager
    def _locked(self, gator: Gator, path: str) -> Iterator[None]:
        with (
            self._told(gator, "pragma busy_timeout = 100", "pragma busy_timeout = 30000"),
            closing(sqlite3.connect(path, isolation_level=None)) as other,
        ):
            other.execute("begin immediate")
            yield
