"""SQLAlchemy engines as the queue needs them."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import PoolProxiedConnection

from ...exceptions import InvalidOptionError, UnknownBackendError

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

SQLITE_LOCK_TIMEOUT = 30.0
"""Seconds that a SQLite connection waits for the writer before it."""
KEEPALIVE = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Finds out within half a minute that a server is gone without a word, and within 10 s when
something was sent to it: in time to renew a lease of 30 s on another connection. The system's
own settings take a quarter of an hour, or two when nothing is sent. Unix sockets ignore it."""
READ_ONLY = "25006"
"""The SQLSTATE of a write that a standby refuses."""
OLDEST_SQLITE = (3, 35, 0)
_DRIVERS = {
    "psycopg": "postgresql://user@host/database, with psycopg 3",
    "pysqlite": "sqlite:///tasks.db, with Python's own sqlite3",
}
"""The drivers that tasks are stored with, and how they are asked for."""
_SEVERAL_HOSTS = re.compile(
    r"(postgres[^:/]*://(?:[^@/?]*@)?)([^@/?,]+(?:,[^@/?,]+)+)(/[^?]*)?\??(.*)"
)


def create(conn_string: str, *, limited: bool = True) -> Engine:
    """Return an engine for ``conn_string``; nothing is connected yet.

    Args:
        conn_string: Where the database is.
        limited: Whether statements commit themselves, and on PostgreSQL get the deadlines of
            :mod:`.sessions`; migrations do not.

    Raises:
        UnknownBackendError: The driver is not installed or another than ours, or the string
            is no DSN.
        InvalidOptionError: A SQLite database that lives in memory, which threads cannot share.
    """
    url = _parsed(conn_string)
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, limited=limited)
        return _postgresql(url, limited=limited)
    except ModuleNotFoundError as error:
        raise UnknownBackendError(
            f"{url.get_backend_name()}:// needs {error.name}: "
            "pip install 'alligator-sql[postgres]'."
        ) from error


def check_sqlite(url: URL) -> None:
    """Refuse what SQLite cannot do for a queue.

    Raises:
        InvalidOptionError: A database in memory, or a library older than 3.35.
    """
    import sqlite3

    if url.database in (None, "", ":memory:"):
        raise InvalidOptionError(
            "A SQLite queue needs a file, because each connection has an in-memory database of its "
            "own. Use sqlite:///tasks.db, or locmem:// for a queue in memory."
        )
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise InvalidOptionError(f"SQLite {sqlite3.sqlite_version} is older than 3.35.")


def _parsed(conn_string: str) -> URL:
    try:
        url = make_url(_with_hosts_apart(conn_string))
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The string may hold a password: name its form only.
        raise UnknownBackendError(
            "The connection string cannot be read. Forms: postgresql://user@host/database, "
            "sqlite:///relative.db, sqlite:////absolute.db, locmem://."
        ) from error
    if url.get_driver_name() not in _DRIVERS:
        forms = "; or ".join(_DRIVERS.values())
        raise UnknownBackendError(f"{url.drivername}:// is not supported: use {forms}.")
    return url


def _with_hosts_apart(conn_string: str) -> str:
    """Write ``//user@one:5432,two:5432/db``, as libpq does, in the way of SQLAlchemy."""
    found = _SEVERAL_HOSTS.match(conn_string)
    if found is None:
        return conn_string
    start, hosts, path, query = found.groups("")
    parameters = [f"host={host}" for host in hosts.split(",")] + ([query] if query else [])
    return f"{start}{path}?{'&'.join(parameters)}"


def _postgresql(url: URL, *, limited: bool) -> Engine:
    from . import sessions

    connect_args: dict[str, Any] = {
        "connect_timeout": sessions.CONNECT_TIMEOUT,
        "application_name": "alligator-sql",
        **KEEPALIVE,
    }
    if "," in url.get_dialect()().create_connect_args(url)[1].get("host", ""):
        connect_args["target_session_attrs"] = "read-write"  # else the first that answers will do
    for name in connect_args.keys() & url.query.keys():
        del connect_args[name]
    if not limited:
        return create_engine(url, connect_args=connect_args, hide_parameters=True)
    # To switch a connection back and forth takes longer than most of our statements.
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        connect_args=connect_args,
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _leave_standby)
    _limit(engine)
    return engine


def _limit(engine: Engine) -> None:
    """Have each connection be a :class:`.sessions.Session`, and find out when it is dead."""
    from . import sessions

    told = False

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> sessions.Session:
        return sessions.Session.connect(*args, **options)

    @event.listens_for(engine, "connect")
    def prepare(session: sessions.Session, _record: Any) -> None:
        nonlocal told
        if not sessions.prepare(session) and not told:
            told = True
            logger.warning(
                "behind a connection pooler nothing limits statements on the server; let "
                "the role do it: ALTER ROLE %s SET statement_timeout = '%gs'",
                session.info.user, sessions.STATEMENT_TIMEOUT,
            )  # fmt: skip

    @event.listens_for(engine, "checkin")
    def put_back(session: sessions.Session | None, _record: Any) -> None:
        # A task that is interrupted may leave anything: a transaction, half of an answer.
        if session is not None and not session.is_at_rest():
            session.close()

    @event.listens_for(engine, "checkout")
    def check(session: sessions.Session, _record: Any, _proxy: Any) -> None:
        if session.has_word() and not session.ping():
            raise DisconnectionError("the server has closed the connection meanwhile")


def leads_to_standby(error: BaseException | None) -> bool:
    """Whether a connection leads to what is a standby now, after a failover."""
    return getattr(error, "sqlstate", None) == READ_ONLY


def _leave_standby(context: ExceptionContext) -> None:
    if leads_to_standby(context.original_exception):
        context.is_disconnect = True


@contextmanager
def replanned(connection: Connection) -> Iterator[None]:
    """Have PostgreSQL plan each statement on a connection of the application anew.

    It keeps the plan of a prepared statement until the next ANALYZE. One that was made while
    a table was empty reads all of it: enqueueing gets slower with each task then.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "postgresql" or not hasattr(driver, "prepare_threshold"):
        yield
        return
    threshold = driver.prepare_threshold
    driver.prepare_threshold = None
    try:
        yield
    finally:
        driver.prepare_threshold = threshold


def begun(connection: Connection) -> Any:
    """Have ``connection`` begin as its application wants it, and return that of the driver.

    An application may begin on SQLAlchemy's event, which fires before the first statement.
    """
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.driver_connection


def unpooled(engine: Engine) -> Any:
    """Return a connection of the driver that belongs to no pool any more."""
    pooled = engine.raw_connection()
    connection = pooled.driver_connection
    pooled.detach()
    return connection


def _sqlite(url: URL, *, limited: bool) -> Engine:
    check_sqlite(url)
    mode = {"isolation_level": "AUTOCOMMIT"} if limited else {}
    engine = create_engine(
        url, connect_args={"timeout": SQLITE_LOCK_TIMEOUT}, hide_parameters=True, **mode
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: "sqlite3.Connection", _record: PoolProxiedConnection) -> None:
        _use_wal(connection)
        connection.execute("pragma synchronous = full")

    return engine


def _use_wal(connection: "sqlite3.Connection") -> None:
    """Switch the file to WAL; it stays so. SQLite itself does not wait for others in this."""
    import sqlite3

    deadline = time.monotonic() + SQLITE_LOCK_TIMEOUT
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
