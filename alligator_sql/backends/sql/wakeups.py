"""Telling workers of new tasks and waiting callers of ended ones. Nothing relies on it."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ...exceptions import InvalidOptionError, StoreUnavailableError
from ...messages import Message
from . import commits, engines, joining
from .connections import Connections, at_fork
from .dialects import Execute
from .listeners import Listener, PostgreSQLListener, SQLiteListener, Tell, channel_of
from .tables import Names
from .troubles import Translated, is_mute

logger = logging.getLogger(__name__)

NOTIFY_INTERVAL = 0.005
"""Seconds between two notifications of one queue by one process, but for those that are part of a
transaction of the caller. A worker that was just woken soon looks again by itself."""
NOTIFY_HORIZON = 5.0
"""Seconds: a task due later than this needs no notification, idle workers look more often."""
MUTE_FOR = 60.0
"""Seconds without any notification after PostgreSQL had no room for one."""
_RESULTS = "results"
_notified: defaultdict[tuple[str, Names], dict[str, float]] = defaultdict(dict)
"""When this process, with whichever gator, has notified of a queue of a database last."""


class Wakeups:
    """NOTIFY and LISTEN on PostgreSQL; on SQLite every commit is news anyway.

    Args:
        connections: Those that statements run on.
        names: The names of the tables.
        listen_url: Where to listen, if ``connections`` lead through a transaction pooler.

    Raises:
        UnknownBackendError: ``listen_url`` cannot be read.
        InvalidOptionError: It does not lead to PostgreSQL, or tasks are not stored there.
    """

    def __init__(
        self, connections: Connections, names: Names, listen_url: str | None = None
    ) -> None:
        self._connections = connections
        self._names = names
        self._is_sqlite = connections.engine.dialect.name == "sqlite"
        self._own_channel = self._new_channel()
        self._direct = connections if listen_url is None else self._at(listen_url)
        # An application's engine may lead elsewhere than its URL says.
        is_known = connections.owned
        self._notified = _notified[str(connections.engine.url), names] if is_known else {}
        self._mute_until = float("-inf")
        self._listeners: dict[tuple[int, tuple[str, ...]], Listener] = {}
        at_fork(in_child=self._in_child)
        if not self._is_sqlite:
            commits.follow()

    def wakes(self, messages: Iterable[Message]) -> bool:
        """Whether somebody is to be woken for ``messages``, because one of them is due soon."""
        if self._is_mute():
            return False
        return any(m.due.absolute or m.due.seconds <= NOTIFY_HORIZON for m in messages)

    def channel(self, messages: Sequence[Message], joined: Any) -> str | None:
        """Return the channel that the transaction of ``joined``, the caller's, has to notify.

        None when nobody is to be woken, or only after the commit.
        """
        if not self.wakes(messages) or not joining.can_notify(joined):
            return None
        queue = messages[0].queue
        if commits.announce_later(joined, self, queue):
            return None
        return channel_of(self._names, queue)

    def announce_new(self, queue: str, execute: Execute) -> None:
        """Tell the workers of ``queue`` of tasks that were committed just now.

        PostgreSQL commits notifying transactions one after the other. One that has written
        nothing waits for no disk, and so holds up nobody.
        """
        if self._is_mute() or self._was_just_notified(queue):
            return
        try:
            with Translated():
                self._send(execute, channel_of(self._names, queue), "")
        except (StoreUnavailableError, DBAPIError) as error:  # the tasks are stored, all the same
            if not self._falls_mute(error):
                logger.warning("nobody was notified of new tasks in %r: %s", queue, error)
        else:
            self._notified[queue] = time.monotonic()

    def _was_just_notified(self, queue: str) -> bool:
        last = self._notified.get(queue, float("-inf"))
        return time.monotonic() - last < NOTIFY_INTERVAL

    @contextmanager
    def dispensable(self) -> Iterator[None]:
        """Do without notifications for a while when PostgreSQL has no room for one.

        Whoever repeats what was refused then has none that could be refused.
        """
        try:
            yield
        except StoreUnavailableError as error:
            self._falls_mute(error)
            raise

    def _falls_mute(self, error: Exception) -> bool:
        """Note that PostgreSQL has no room for notifications, if that is what ``error`` says."""
        if not is_mute(error):
            return False
        logger.warning(
            "PostgreSQL's queue of notifications is full: for %g s nobody is notified of "
            "tasks, and workers look for them. Some session that listens does not end its "
            "transaction: end that, and make room by SELECT pg_notification_queue_usage().",
            MUTE_FOR,
        )
        self._mute_until = time.monotonic() + MUTE_FOR
        return True

    def _is_mute(self) -> bool:
        return self._is_sqlite or time.monotonic() < self._mute_until

    def announce_end(self, connection: Connection, task_id: UUID) -> None:
        """Tell those who wait for the result of ``task_id``, when ``connection`` commits."""
        self._notify(connection, _RESULTS, task_id.hex)

    def announce_due(self, connection: Connection, queues: Iterable[str]) -> None:
        """Tell the workers of ``queues`` that old tasks may be claimed, when it commits."""
        for queue in sorted(queues):
            self._notify(connection, queue, "")

    def _notify(self, connection: Connection, topic: str, payload: str) -> None:
        if not self._is_mute():
            execute = self._connections.executor(connection)
            self._send(execute, channel_of(self._names, topic), payload)

    def _send(self, execute: Execute, channel: str, payload: str) -> None:
        execute("select pg_notify(:channel, :payload)", {"channel": channel, "payload": payload})

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait for news about ``queues``; each thread has a listener of its own."""
        key = (threading.get_ident(), tuple(queues))
        listener = self._listeners.get(key)
        if listener is None:
            self._listeners[key] = self._proven(self._listener(queues, self._tell))
            return True  # whatever came before the listener stood is news
        try:
            return listener.wait(timeout)
        except StoreUnavailableError:
            self._listeners.pop(key, listener).close()
            raise

    def unlisten(self) -> None:
        """Close the listeners of the calling thread."""
        for key in list(self._listeners):
            if key[0] == threading.get_ident() and (listener := self._listeners.pop(key, None)):
                listener.close()

    def end_listener(self) -> Listener:
        """Return a listener for the ends of tasks, to be closed by the caller."""
        return self._listener([_RESULTS])

    def _in_child(self) -> None:
        """After a fork the listeners are the parent's, and so are the threads they belong to."""
        self._listeners = {}
        self._own_channel = self._new_channel()

    def _new_channel(self) -> str:
        return channel_of(self._names, uuid4().hex)

    def _listener(self, topics: Sequence[str], tell: Tell | None = None) -> Listener:
        with Translated():
            if self._is_sqlite:
                return SQLiteListener(self._connections.engine)
            channels = [channel_of(self._names, topic) for topic in topics]
            return PostgreSQLListener(self._direct.engine, channels, self._own_channel, tell)

    def _proven(self, listener: Listener) -> Listener:
        try:
            listener.prove()
        except BaseException:
            listener.close()
            raise
        return listener

    def _tell(self, payload: str) -> None:
        with self._connections.statement() as connection:
            self._send(self._connections.executor(connection), self._own_channel, payload)

    def _at(self, listen_url: str) -> Connections:
        engine = engines.create(listen_url)
        if self._is_sqlite or engine.dialect.name != "postgresql":
            raise InvalidOptionError(
                "listen_url= is for tasks in PostgreSQL: a postgresql:// string that leads to the "
                "same database past the connection pooler."
            )
        return Connections(engine, owned=True)

    def close(self) -> None:
        """Close all listeners."""
        while self._listeners:
            self._listeners.popitem()[1].close()
