"""What ``gator.using(x)`` and ``Gator(engine=x)`` refuse, and first uses inside a transaction."""

import asyncio
import sqlite3
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from alligator_sql import Gator
from alligator_sql.backends.sql import schema
from alligator_sql.exceptions import InvalidOptionError, SchemaError, Unsupported
from tests.conftest import _start
from tests.postgres_servers import PostgresServer, PostgresServers

from . import callers, tasks


class TestRefusals:
    def test_local_memory_cannot_join_and_says_who_can(self):
        gator = Gator("locmem://joining")
        connection = sqlite3.connect(":memory:")
        with pytest.raises(Unsupported, match=r"local memory.*PostgreSQL.*SQLite"):
            gator.using(connection)
        connection.close()

    def test_what_is_no_connection_is_refused_with_a_list_of_what_is(self, sqlite_dsn):
        gator = Gator(sqlite_dsn)
        engine = create_engine(sqlite_dsn)
        for thing in (engine, "sqlite://", None, object()):
            refused = rf"a {type(thing).__name__}\. Give a SQLAlchemy Session, .*sqlite3"
            with pytest.raises(Unsupported, match=refused):
                gator.using(thing)
        engine.dispose()

    def test_an_async_engine_is_refused_with_what_to_do_instead(self, postgres18_dsn, sqlite_dsn):
        refused = r"AsyncEngine.*give the DSN too.*using\(session\)"
        for url in (
            make_url(postgres18_dsn).set(drivername="postgresql+psycopg"),
            make_url(sqlite_dsn).set(drivername="sqlite+aiosqlite"),
        ):
            with pytest.raises(Unsupported, match=refused):
                Gator(engine=create_async_engine(url))  # type: ignore[arg-type]

    def test_a_sqlite_engine_in_memory_is_refused(self):
        with pytest.raises(InvalidOptionError, match="needs a file"):
            Gator(engine=create_engine("sqlite://"))

    def test_a_sqlite3_connection_without_a_transaction_is_refused(self, sqlite_dsn):
        """A task is two rows: without a transaction a worker could come between them."""
        gator = Gator(sqlite_dsn)
        connection = sqlite3.connect(str(make_url(sqlite_dsn).database), isolation_level=None)
        with pytest.raises(Unsupported, match=r"autocommit.*begin"):
            gator.using(connection).task(tasks.echo, 1)
        connection.execute("begin")
        gator.using(connection).task(tasks.echo, 2)
        connection.execute("commit")
        assert [gator.pop(), gator.pop()] == [2, None]
        connection.close()
        gator.close()

    @pytest.mark.parametrize("kind", [Session, Connection])
    def test_sqlalchemy_in_autocommit_on_sqlite_is_refused(self, sqlite_dsn, kind):
        gator = Gator(sqlite_dsn)
        engine = create_engine(sqlite_dsn, isolation_level="AUTOCOMMIT")
        refused = r"SQLite connection .* autocommit.*begin"
        with kind(engine) as joined, pytest.raises(Unsupported, match=refused):
            gator.using(joined).task(tasks.echo, 1)
        engine.dispose()
        assert gator.len() == 0
        gator.close()

    def test_an_async_session_in_autocommit_on_sqlite_is_refused(self, sqlite_dsn):
        gator = Gator(sqlite_dsn)

        async def enqueue() -> None:
            url = make_url(sqlite_dsn).set(drivername="sqlite+aiosqlite")
            engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
            async with AsyncSession(engine) as session:
                with pytest.raises(Unsupported, match=r"SQLite connection .* autocommit.*begin"):
                    await gator.using(session).atask(tasks.echo, 1)
            await engine.dispose()

        asyncio.run(enqueue())
        assert gator.len() == 0
        gator.close()


def _with_own_begin(dsn: str) -> Engine:
    """Return an engine as SQLAlchemy's manual has it for real transactions on SQLite."""
    engine = create_engine(dsn)

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin")

    return engine


class TestOwnBegin:
    """The application begins its SQLite transactions itself, on SQLAlchemy's event."""

    @pytest.mark.parametrize("kind", [Session, Connection])
    def test_joined(self, empty_sqlite_dsn, kind):
        gator = Gator(empty_sqlite_dsn)
        engine = _with_own_begin(empty_sqlite_dsn)
        with kind(engine) as joined:
            gator.using(joined).task(tasks.echo, "gone")
            joined.rollback()
            gator.using(joined).task(tasks.echo, "kept")
            joined.commit()
        engine.dispose()
        assert [gator.pop(), gator.pop()] == ["kept", None]
        gator.close()

    def test_shared_engine(self, empty_sqlite_dsn):
        engine = _with_own_begin(empty_sqlite_dsn)
        gator = Gator(engine=engine)
        gator.task(tasks.echo, 1)
        assert [gator.pop(), gator.pop()] == [1, None]
        engine.dispose()


class TestMissingSchema:
    @pytest.mark.parametrize(
        "kind",
        [callers.SessionCaller, callers.AsyncSessionCaller, callers.PsycopgCaller],
        ids=lambda kind: kind.__name__,
    )
    def test_the_transaction_stays_usable_on_postgresql(self, empty_postgres_dsn, kind):
        with psycopg.connect(empty_postgres_dsn) as connection:
            connection.execute("create table orders (name text)")
        gator = Gator(empty_postgres_dsn)
        caller = kind(empty_postgres_dsn)
        caller.begin()
        with pytest.raises(SchemaError, match="Run: alligator-sql schema upgrade"):
            caller.task(gator.using(caller.connection), tasks.echo, 1)
        with pytest.raises(SchemaError, match="alligator_tasks"):
            caller.map(gator.using(caller.connection), tasks.echo, [1])
        caller.execute("insert into orders (name) values ('still usable')")
        caller.commit()
        assert caller.execute("select count(*) from orders") == [(2,)]
        caller.close()
        with pytest.raises(SchemaError, match="schema upgrade"):
            gator.task(tasks.echo, 1)
        gator.close()

    @pytest.mark.parametrize("kind", callers.SQLITE, ids=lambda kind: kind.__name__)
    def test_sqlite_makes_the_tables_within_the_transaction(self, empty_sqlite_dsn, kind):
        path = str(make_url(empty_sqlite_dsn).database)
        connection = sqlite3.connect(path)
        connection.execute("create table orders (name text)")
        connection.close()
        gator = Gator(empty_sqlite_dsn)
        caller = kind(empty_sqlite_dsn)

        caller.begin()
        caller.task(gator.using(caller.connection), tasks.echo, "gone")
        caller.rollback()
        observer = callers.SQLiteCaller(empty_sqlite_dsn)
        assert observer.execute("select name from sqlite_master order by name") == [("orders",)]
        assert observer.execute("select count(*) from orders") == [(0,)]
        observer.close()

        caller.begin()
        caller.task(gator.using(caller.connection), tasks.echo, "kept")
        caller.commit()
        caller.close()
        assert [gator.pop(), gator.pop()] == ["kept", None]
        gator.close()

    @pytest.mark.parametrize("kind", callers.SQLITE, ids=lambda kind: kind.__name__)
    def test_sqlite_is_untouched_by_a_rolled_back_task_that_came_first(
        self, empty_sqlite_dsn, kind
    ):
        """The sqlite3 module begins no transaction before a CREATE."""
        gator = Gator(empty_sqlite_dsn)
        caller = kind(empty_sqlite_dsn)
        caller.start()
        caller.task(gator.using(caller.connection), tasks.echo, "gone")
        caller.rollback()
        observer = callers.SQLiteCaller(empty_sqlite_dsn)
        assert observer.execute("select name from sqlite_master") == []
        observer.close()

        caller.start()
        caller.task(gator.using(caller.connection), tasks.echo, "kept")
        caller.commit()
        caller.close()
        assert [gator.pop(), gator.pop()] == ["kept", None]
        gator.close()

    def test_sqlite_tables_without_a_revision_are_healed(self, sqlite_dsn):
        connection = sqlite3.connect(str(make_url(sqlite_dsn).database))
        connection.execute("delete from alligator_version")
        connection.commit()
        gator = Gator(sqlite_dsn)
        gator.using(connection).task(tasks.echo, 1)
        connection.commit()
        revisions = connection.execute("select * from alligator_version").fetchall()
        assert revisions == [(schema.REVISION,)]
        connection.close()
        assert gator.pop() == 1
        gator.close()


class TestTwoPhaseCommit:
    """PostgreSQL cannot prepare a transaction that used NOTIFY, so these send none."""

    @pytest.fixture(scope="module")
    @staticmethod
    def server() -> Iterator[PostgresServer]:
        with PostgresServers() as servers:
            server = _start(servers, 18)
            server._execute("alter system set max_prepared_transactions = 4")
            server._server.stop()
            server._server.ensure_postgres_running()
            yield server

    @pytest.fixture
    def dsn(self, server) -> str:
        return str(server.dsn(server.create_database(server.upgraded)))

    @pytest.fixture
    def gator(self, dsn) -> Iterator[Gator]:
        gator = Gator(dsn)
        yield gator
        gator.close()

    def test_of_a_session(self, dsn, gator):
        engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
        with Session(engine, twophase=True) as session:
            gator.using(session).task(tasks.echo, "session")
            session.commit()
        scoped = scoped_session(sessionmaker(engine, twophase=True))
        gator.using(scoped).task(tasks.echo, "scoped")
        scoped.commit()
        scoped.remove()
        with Session(engine, twophase=True) as session:
            gator.using(session.connection()).task(tasks.echo, "its connection")
            session.commit()
        with Session(engine, twophase=True) as session:
            gator.using(session).task(tasks.echo, "gone")
            session.rollback()
        engine.dispose()
        assert [gator.pop() for _ in range(4)] == ["session", "scoped", "its connection", None]

    def test_of_a_connection(self, dsn, gator):
        engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            transaction = connection.begin_twophase()
            gator.using(connection).task(tasks.echo, 1)
            transaction.prepare()
            transaction.commit()
        engine.dispose()
        assert gator.pop() == 1

    async def _of_async_session(self, dsn: str, gator: Gator) -> None:
        engine = create_async_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
        async with AsyncSession(engine, twophase=True) as session:
            await gator.using(session).atask(tasks.echo, 1)
            await session.commit()
        await engine.dispose()

    def test_of_an_async_session(self, dsn, gator):
        asyncio.run(self._of_async_session(dsn, gator))
        assert gator.pop() == 1

    def test_of_psycopg(self, dsn, gator):
        with psycopg.connect(dsn) as connection:
            connection.tpc_begin("one")
            gator.using(connection).task(tasks.echo, 1)
            connection.tpc_prepare()
            connection.tpc_commit()
        assert gator.pop() == 1


class TestSharedEngine:
    @pytest.fixture(params=["postgresql", "sqlite"])
    def url(self, request, postgres18_dsn, sqlite_dsn) -> str:
        if request.param == "sqlite":
            return str(sqlite_dsn)
        return str(postgres18_dsn.replace("postgresql:", "postgresql+psycopg:"))

    def test_tasks_go_through_the_applications_pool_and_leave_it_open(self, url):
        engine = create_engine(url)
        used: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *args: used.append(args[2]))
        gator = Gator(engine=engine)
        with engine.begin() as connection:
            gator.using(connection).task(tasks.add, 1, 2)
        gator.task(tasks.add, 3, 4)
        gator.map(tasks.echo, range(3))
        assert [gator.pop() for _ in range(5)] == [3, 7, 0, 1, 2]
        assert any("alligator_tasks" in statement for statement in used)

        idle = engine.pool.checkedin()  # type: ignore[attr-defined]
        gator.close()
        assert engine.pool.checkedin() == idle > 0  # type: ignore[attr-defined]
        with engine.connect() as connection:
            assert connection.scalar(text("select 1")) == 1
        engine.dispose()

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_claims_are_read_committed_whatever_the_level_of_the_engine(self, postgres_dsn, level):
        engine = create_engine(
            postgres_dsn.replace("postgresql:", "postgresql+psycopg:"), isolation_level=level
        )
        levels: list[str] = []

        @event.listens_for(engine, "before_cursor_execute")
        def look(connection: Connection, cursor: object, statement: str, *_: object) -> None:
            if "for no key update skip locked" in statement:
                levels.append(connection.get_isolation_level())

        gator = Gator(engine=engine)
        gator.map(tasks.echo, range(3))
        assert [gator.pop() for _ in range(4)] == [0, 1, 2, None]
        assert set(levels) == {"READ COMMITTED"}
        with engine.connect() as connection:  # the application still has what it asked for
            assert connection.scalar(text("show transaction_isolation")) == level.lower()
        engine.dispose()
