"""Waiting for news from the database, each listener on a connection of its own."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol, cast

from sqlalchemy import Engine

from ...exceptions import StoreUnavailableError
from .tables import Names

PROBE_INTERVAL = 15.0
"""Seconds of silence after which a listener asks whether its connection still answers."""
DATA_VERSION_INTERVAL = 0.01
"""Seconds between two looks at SQLite's ``data_version``, which take 3 µs each."""


class Listener(Protocol):
    """Something that wakes when the database may have news."""

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether there may be news."""

    def close(self) -> None:
        """Give the connection back."""


def channel_of(names: Names, topic: str) -> str:
    """Return the channel for ``topic``: a valid name however long and odd the topic is."""
    digest = blake2b(f"{names.schema}/{topic}".encode(), digest_size=10).hexdigest()
    return f"{names.prefix}{digest}"


class PostgreSQLListener:
    """LISTEN on a connection in autocommit mode, which never holds a snapshot open."""

    def __init__(self, engine: Engine, channels: Sequence[str]) -> None:
        self._connection = cast(Any, _own_connection(engine))
        # A connection must not be closed while another thread waits on it.
        self._in_use = threading.Lock()
        self._error = cast(Any, engine.dialect).dbapi.Error
        self._connection.autocommit = True
        for channel in channels:
            self._connection.execute(f'listen "{channel}"')
        self._probed = time.monotonic()

    def wait(self, timeout: float) -> bool:
        """Wait for a notification."""
        with self._in_use:
            try:
                return self._notified(timeout)
            except self._error as error:
                raise StoreUnavailableError(f"The listening connection is lost: {error}") from error

    def _notified(self, timeout: float) -> bool:
        for _ in self._connection.notifies(timeout=timeout, stop_after=1):
            return True
        if time.monotonic() - self._probed > PROBE_INTERVAL:
            self._connection.execute("select 1")
            self._probed = time.monotonic()
        return False

    def close(self) -> None:
        """Close the connection, once nobody waits on it any more."""
        with self._in_use:
            self._connection.close()


class SQLiteListener:
    """Polls ``data_version``, which changes with every commit on another connection."""

    def __init__(self, engine: Engine) -> None:
        self._connection = cast(sqlite3.Connection, _own_connection(engine))
        # To close a connection that another thread uses at this moment ends the process.
        self._in_use = threading.Lock()
        self._closed = False
        self._seen = self._version()

    def wait(self, timeout: float) -> bool:
        """Wait for a commit of any other connection, in this process or another."""
        deadline = time.monotonic() + timeout
        while True:
            version = self._version()
            if version is None:
                return False
            if version != self._seen:
                self._seen = version
                return True
            rest = deadline - time.monotonic()
            if rest <= 0:
                return False
            time.sleep(min(DATA_VERSION_INTERVAL, rest))

    def _version(self) -> int | None:
        with self._in_use:
            if self._closed:
                return None
            return cast(int, self._connection.execute("pragma data_version").fetchone()[0])

    def close(self) -> None:
        """Close the connection; whoever waits on it stops waiting."""
        with self._in_use:
            self._closed = True
            self._connection.close()


def _own_connection(engine: Engine) -> object:
    """Return a driver connection that belongs to no pool any more."""
    pooled = engine.raw_connection()
    connection = pooled.driver_connection
    pooled.detach()
    return connection
