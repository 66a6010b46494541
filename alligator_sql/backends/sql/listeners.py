"""Waiting for news from the database, each listener on a connection of its own."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

from sqlalchemy import Engine

from ...exceptions import StoreUnavailableError
from .engines import unpooled
from .tables import Names

if TYPE_CHECKING:
    import sqlite3

PING_INTERVAL = 10.0
"""Seconds between two notifications that a listener sends to itself."""
PING_PATIENCE = 5.0
"""Seconds within which such a notification has to come back."""
DATA_VERSION_INTERVAL = 0.01
"""Seconds between two looks at SQLite's ``data_version``, which take 3 µs each."""


Tell = Callable[[str], None]
"""Sends a notification with a payload to the listeners of this process."""


class Listener(Protocol):
    """Something that wakes when the database may have news."""

    def prove(self) -> None:
        """Return once it is certain that news arrive.

        Raises:
            StoreUnavailableError: They do not.
        """

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether there may be news."""

    def close(self) -> None:
        """Give the connection back."""


@lru_cache(maxsize=1024)
def channel_of(names: Names, topic: str) -> str:
    """Return the channel for ``topic``: a valid name however long and odd the topic is."""
    digest = blake2b(f"{names.schema}/{topic}".encode(), digest_size=10).hexdigest()
    return f"{names.prefix}{digest}"


class PostgreSQLListener:
    """LISTEN on a connection in autocommit mode, which never holds a snapshot open.

    A connection can be dead without a word, and a transaction pooler accepts LISTEN and
    passes nothing on. So the listener keeps sending notifications to itself. They go by another
    connection: on its own they would come with the answer, whoever is in between.

    Args:
        engine: Makes the connection.
        channels: What to listen to.
        own_channel: What ``tell`` sends to. It stays the same as long as the process does, because
            behind a pooler every attempt leaves a LISTEN with the server.
        tell: Sends the notifications to itself; without it nothing is proven.
    """

    def __init__(
        self, engine: Engine, channels: Sequence[str], own_channel: str, tell: Tell | None = None
    ) -> None:
        self._connection = cast(Any, _own_connection(engine))
        # A connection must not be closed while another thread waits on it.
        self._in_use = threading.Lock()
        self._error = cast(Any, engine.dialect).dbapi.Error
        self._tell = tell
        self._own_channel = own_channel
        self._name = uuid4().hex
        self._pings = 0
        self._next_ping = math.inf
        self._answer_due = math.inf
        self._listen([*channels, own_channel] if tell else channels)

    def _listen(self, channels: Sequence[str]) -> None:
        try:
            self._connection.autocommit = True
            for channel in channels:
                self._connection.execute(f'listen "{channel}"')
        except self._error as error:
            self._connection.close()
            raise StoreUnavailableError(f"Cannot listen: {error}") from error

    def prove(self) -> None:
        """Wait for a notification to itself."""
        self._next_ping = time.monotonic()
        with self._guarded():
            self._receive(math.inf)
            while self._answer_due < math.inf:
                self._receive(math.inf)

    def wait(self, timeout: float) -> bool:
        """Wait for a notification."""
        deadline = time.monotonic() + timeout
        with self._guarded():
            while not self._receive(deadline):
                if time.monotonic() >= deadline:
                    return False
            return True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._in_use:
            try:
                yield
            except self._error as error:
                raise StoreUnavailableError(f"The listening connection is lost: {error}") from error

    def _receive(self, deadline: float) -> bool:
        """Wait until ``deadline``, or until something is to be done; return whether there is news.

        Raises:
            StoreUnavailableError: What it told itself does not come back.
        """
        now = time.monotonic()
        if now >= self._next_ping:
            self._ping(now)
        news = self._hears(min(deadline, self._next_ping, self._answer_due) - now)
        if not news and time.monotonic() >= self._answer_due:
            raise StoreUnavailableError(self._silence())
        return news

    def _ping(self, now: float) -> None:
        if self._tell is not None:
            self._pings += 1
            self._next_ping, self._answer_due = math.inf, now + PING_PATIENCE
            self._tell(self._ping_text())

    def _hears(self, timeout: float) -> bool:
        news = False
        for notice in self._connection.notifies(timeout=max(0.0, timeout), stop_after=1):
            if notice.channel != self._own_channel:
                news = True
            elif notice.payload == self._ping_text():
                self._answer_due = math.inf
                self._next_ping = time.monotonic() + PING_INTERVAL
        return news

    def _ping_text(self) -> str:
        return f"{self._name} {self._pings}"

    def _silence(self) -> str:
        if self._pings > 1:
            return f"The listening connection is dead: it heard nothing for {PING_PATIENCE:g} s."
        return (
            f"Notifications do not arrive within {PING_PATIENCE:g} s, as behind a transaction "
            "pooler. New tasks are found by polling instead. Give listen_url= a direct "
            "connection to the same database."
        )

    def close(self) -> None:
        """Close the connection, once nobody waits on it any more."""
        with self._in_use:
            self._connection.close()


class SQLiteListener:
    """Polls ``data_version``, which changes with every commit on another connection."""

    def __init__(self, engine: Engine) -> None:
        self._connection = cast("sqlite3.Connection", _own_connection(engine))
        # To close a connection that another thread uses at this moment ends the process.
        self._in_use = threading.Lock()
        self._error = cast(Any, engine.dialect).dbapi.Error
        self._closed = False
        self._seen = self._version()

    def prove(self) -> None:
        """Do nothing: who can read the file sees its changes."""

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
            try:
                return cast(int, self._connection.execute("pragma data_version").fetchone()[0])
            except self._error as error:
                raise StoreUnavailableError(f"The database cannot be watched: {error}") from error

    def close(self) -> None:
        """Close the connection; whoever waits on it stops waiting."""
        with self._in_use:
            self._closed = True
            self._connection.close()


def _own_connection(engine: Engine) -> object:
    """Return a driver connection that belongs to no pool, to listen on."""
    try:
        return unpooled(engine)
    except cast(Any, engine.dialect).dbapi.Error as error:
        raise StoreUnavailableError(f"No connection to listen on: {error}") from error
