"""Applications of every kind that a gator can join: each has one connection to its database.

All look alike from outside, the asynchronous ones too, so that one test serves them all.
"""

import asyncio
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from alligator_sql import current_task
from alligator_sql.enqueuing import Joined, Options

View = Joined | Options


class Caller(ABC):
    """One application.

    Attributes:
        connection: What it gives to ``gator.using()``.
    """

    connection: Any
    is_async = False

    @abstractmethod
    def execute(self, sql: str) -> Sequence[Any]:
        """Execute a statement as the application does, beginning a transaction if need be."""

    @abstractmethod
    def commit(self) -> None:
        """Commit."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll back."""

    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether the connection has begun a transaction, or the session has a connection."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""

    def trace(self, statements: list[str]) -> None:
        """Append every statement that reaches a SQLite database to ``statements``."""
        raise NotImplementedError

    def start(self) -> None:  # noqa: B027 - most connections do by themselves
        """Begin a transaction."""

    def begin(self) -> None:
        """Begin a transaction and write something in it."""
        self.start()
        self.execute("insert into orders (name) values ('begun')")

    def savepoint(self) -> None:
        self.execute("savepoint here")

    def rollback_to_savepoint(self) -> None:
        self.execute("rollback to savepoint here")

    def task(self, view: View, *call: Any, **kwargs: Any) -> Any:
        return view.task(*call, **kwargs)

    def complete(self, value: Any = None) -> None:
        current_task().complete(self.connection, value)

    def map(self, view: View, *call: Any) -> int:
        return view.map(*call)


class SQLAlchemyCaller(Caller):
    """A session or a connection, which are nearly the same to us."""

    def __init__(self, dsn: str) -> None:
        self.engine = create_engine(_url(dsn, postgresql="psycopg", sqlite="pysqlite"))
        self.connection = self.connect()

    @abstractmethod
    def connect(self) -> Any:
        """Return the session or connection."""

    def execute(self, sql: str) -> Sequence[Any]:
        result = self.connection.execute(text(sql))
        return result.fetchall() if result.returns_rows else []

    def savepoint(self) -> None:
        self._nested = self.connection.begin_nested()

    def rollback_to_savepoint(self) -> None:
        self._nested.rollback()

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def in_transaction(self) -> bool:
        return bool(self.connection.in_transaction())

    def trace(self, statements: list[str]) -> None:
        connection = getattr(self.connection, "connection", None)
        joined = connection() if callable(connection) else self.connection
        joined.connection.driver_connection.set_trace_callback(statements.append)

    def close(self) -> None:
        self.connection.close()
        self.engine.dispose()


class SessionCaller(SQLAlchemyCaller):
    def connect(self) -> Any:
        return Session(self.engine)


class ScopedSessionCaller(SQLAlchemyCaller):
    def connect(self) -> Any:
        return scoped_session(sessionmaker(self.engine))

    def in_transaction(self) -> bool:
        return bool(self.connection().in_transaction())

    def trace(self, statements: list[str]) -> None:
        joined = self.connection.connection()
        joined.connection.driver_connection.set_trace_callback(statements.append)

    def close(self) -> None:
        self.connection.remove()
        self.engine.dispose()


class ConnectionCaller(SQLAlchemyCaller):
    def connect(self) -> Any:
        return self.engine.connect()

    def trace(self, statements: list[str]) -> None:
        self.connection.connection.driver_connection.set_trace_callback(statements.append)


class AsyncCaller(Caller):
    """Runs everything on an event loop of its own."""

    is_async = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._await = self._runner.run

    def task(self, view: View, *call: Any, **kwargs: Any) -> Any:
        return self._await(view.atask(*call, **kwargs))

    def complete(self, value: Any = None) -> None:
        self._await(current_task().acomplete(self.connection, value))

    def map(self, view: View, *call: Any) -> int:
        return self._await(view.amap(*call))


class AsyncSQLAlchemyCaller(AsyncCaller):
    def __init__(self, dsn: str) -> None:
        super().__init__()
        self.engine = create_async_engine(_url(dsn, postgresql="psycopg", sqlite="aiosqlite"))
        self.connection = self._await(self.connect())

    @abstractmethod
    async def connect(self) -> Any:
        """Return the session or connection."""

    def execute(self, sql: str) -> Sequence[Any]:
        result = self._await(self.connection.execute(text(sql)))
        return result.fetchall() if result.returns_rows else []

    def savepoint(self) -> None:
        async def begin() -> Any:
            return await self.connection.begin_nested()

        self._nested = self._await(begin())

    def rollback_to_savepoint(self) -> None:
        self._await(self._nested.rollback())

    def commit(self) -> None:
        self._await(self.connection.commit())

    def rollback(self) -> None:
        self._await(self.connection.rollback())

    def in_transaction(self) -> bool:
        return bool(self.connection.in_transaction())

    def trace(self, statements: list[str]) -> None:
        async def trace() -> None:
            connection = self.connection
            if not hasattr(connection, "get_raw_connection"):
                connection = await connection.connection()
            raw = await connection.get_raw_connection()
            await raw.driver_connection.set_trace_callback(statements.append)

        self._await(trace())

    def close(self) -> None:
        self._await(self.connection.close())
        self._await(self.engine.dispose())
        self._runner.close()


class AsyncSessionCaller(AsyncSQLAlchemyCaller):
    async def connect(self) -> Any:
        return AsyncSession(self.engine)


class AsyncScopedSessionCaller(AsyncSQLAlchemyCaller):
    async def connect(self) -> Any:
        return async_scoped_session(async_sessionmaker(self.engine), scopefunc=lambda: "the only")

    def in_transaction(self) -> bool:
        return bool(self.connection().in_transaction())

    def close(self) -> None:
        self._await(self.connection.remove())
        self._await(self.engine.dispose())
        self._runner.close()


class AsyncConnectionCaller(AsyncSQLAlchemyCaller):
    async def connect(self) -> Any:
        return await self.engine.connect()


class PsycopgCaller(Caller):
    options: dict[str, Any] = {}  # noqa: RUF012 - each class has its own

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, **self.options)

    def execute(self, sql: str) -> Sequence[Any]:
        cursor = self.connection.execute(sql)
        return _tuples(cursor.fetchall()) if cursor.description else []

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def in_transaction(self) -> bool:
        return _in_transaction(self.connection)

    def close(self) -> None:
        self.connection.close()


class PsycopgDictCaller(PsycopgCaller):
    """The application wants its rows as dicts."""

    options = {"row_factory": dict_row}  # noqa: RUF012


class PsycopgAutocommitCaller(PsycopgCaller):
    """The application begins and ends its transactions with statements of its own."""

    options = {"autocommit": True}  # noqa: RUF012

    def start(self) -> None:
        self.execute("begin")

    def commit(self) -> None:
        self.execute("commit")

    def rollback(self) -> None:
        self.execute("rollback")


class AsyncPsycopgCaller(AsyncCaller):
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, dsn: str) -> None:
        super().__init__()

        async def connect() -> Any:
            return await psycopg.AsyncConnection.connect(dsn, **self.options)

        self.connection = self._await(connect())

    def execute(self, sql: str) -> Sequence[Any]:
        async def execute() -> Sequence[Any]:
            cursor = await self.connection.execute(sql)
            return _tuples(await cursor.fetchall()) if cursor.description else []

        return self._await(execute())

    def commit(self) -> None:
        self._await(self.connection.commit())

    def rollback(self) -> None:
        self._await(self.connection.rollback())

    def in_transaction(self) -> bool:
        return _in_transaction(self.connection)

    def close(self) -> None:
        self._await(self.connection.close())
        self._runner.close()


class AsyncPsycopgDictCaller(AsyncPsycopgCaller):
    options = {"row_factory": dict_row}  # noqa: RUF012


class SQLiteCaller(Caller):
    """The module's own way: it begins a transaction before the first change."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, dsn: str) -> None:
        self.connection = sqlite3.connect(str(make_url(dsn).database), **self.options)

    def execute(self, sql: str) -> Sequence[Any]:
        return [tuple(row) for row in self.connection.execute(sql).fetchall()]

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def in_transaction(self) -> bool:
        return bool(self.connection.in_transaction)

    def trace(self, statements: list[str]) -> None:
        self.connection.set_trace_callback(statements.append)

    def close(self) -> None:
        self.connection.close()


class SQLiteRowCaller(SQLiteCaller):
    """The application wants rows with names."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.connection.row_factory = sqlite3.Row


class SQLiteExplicitCaller(SQLiteCaller):
    """The application begins and ends its transactions with statements of its own."""

    options = {"isolation_level": None}  # noqa: RUF012

    def start(self) -> None:
        self.execute("begin immediate")

    def commit(self) -> None:
        self.execute("commit")

    def rollback(self) -> None:
        self.execute("rollback")


class SQLiteAlwaysCaller(SQLiteCaller):
    """Python 3.12's newer way: there is always a transaction."""

    options = {"autocommit": False}  # noqa: RUF012

    def in_transaction(self) -> bool:
        return bool(self.connection.total_changes)


POSTGRESQL = (
    SessionCaller,
    ScopedSessionCaller,
    ConnectionCaller,
    AsyncSessionCaller,
    AsyncScopedSessionCaller,
    AsyncConnectionCaller,
    PsycopgCaller,
    PsycopgDictCaller,
    PsycopgAutocommitCaller,
    AsyncPsycopgCaller,
    AsyncPsycopgDictCaller,
)
SQLITE = (
    SessionCaller,
    ScopedSessionCaller,
    ConnectionCaller,
    AsyncSessionCaller,
    AsyncConnectionCaller,
    SQLiteCaller,
    SQLiteRowCaller,
    SQLiteExplicitCaller,
    *((SQLiteAlwaysCaller,) if sys.version_info >= (3, 12) else ()),
)


def _url(dsn: str, **drivers: str) -> URL:
    url = make_url(dsn)
    name = url.get_backend_name()
    return url.set(drivername=f"{name}+{drivers[name]}")


def _tuples(rows: Sequence[Any]) -> Sequence[Any]:
    return [tuple(row.values()) if isinstance(row, dict) else row for row in rows]


def _in_transaction(connection: Any) -> bool:
    return bool(connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE)
