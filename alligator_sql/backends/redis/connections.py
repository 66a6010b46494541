"""Connections to the server: made from a connection string, with errors of our own."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.client import PubSub
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from ... import jitter
from ...exceptions import (
    AlligatorException,
    InvalidOptionError,
    QueueFull,
    SchemaError,
    StoreUnavailableError,
)
from ...redaction import hide_password

CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 15.0
"""Seconds that an answer may take; nothing that we send blocks in the server."""
TRIES: Final = 4
"""How often a call is tried that may be repeated."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Seconds before another try: twice as long each time, with jitter."""

TRUSTED: Final = 1.0
"""Seconds after its last use during which a connection is not looked at before the next."""

PARAMETERS: Final = frozenset(
    {
        "client_name",
        "db",
        "password",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "username",
    }
)
"""What may follow the ``?`` of a connection string, beside the parameters of TLS."""

Command = tuple[Any, ...]


def ignore(_error: Exception) -> None:
    """Do nothing about an error."""


_PASSING: Final = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
"""Errors that say that this server cannot serve now; another connection may reach one that can."""


class Connections:
    """A pool of connections to one database.

    Args:
        conn_string: ``redis://``, ``rediss://`` or ``unix://``.

    Raises:
        InvalidOptionError: The connection string has a database or a parameter that cannot be.
    """

    def __init__(self, conn_string: str) -> None:
        self._shown = hide_password(conn_string)
        check_url(conn_string)
        defaults: dict[str, Any] = {
            "client_name": "alligator-sql",
            "decode_responses": False,
            "protocol": 2,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            # Whether a command may be sent again is known only where it is sent.
            "retry": Retry(NoBackoff(), 0),
        }
        if not conn_string.startswith("unix:"):
            defaults["socket_keepalive"] = True
        try:
            self._pool = redis.ConnectionPool.from_url(conn_string, **defaults)
            self._pool.make_connection()  # which looks at the parameters, and connects nowhere
        except (TypeError, ValueError) as error:
            raise InvalidOptionError(f"{self._shown}: {error}") from error
        self._idle: deque[tuple[Any, float]] = deque()
        self._pid = os.getpid()

    def call(
        self,
        commands: Sequence[Command],
        *,
        tries: int = TRIES,
        repeated: Callable[[Exception], None] = ignore,
    ) -> list[Any]:
        """Send ``commands`` at once and return their answers, errors of single ones included.

        Args:
            commands: Each with its name and its arguments.
            tries: How often they may be sent when the answer was lost.
            repeated: Called with the error before they are sent again.

        Raises:
            StoreUnavailableError: The server does not answer, or cannot serve now.
        """
        try:
            return self._call_once(commands)
        except StoreUnavailableError as error:
            if tries == 1:
                raise
            repeated(error)
        time.sleep(jitter.uniform(0, FIRST_PAUSE))
        backoff = ExponentialWithJitterBackoff(cap=LONGEST_PAUSE, base=FIRST_PAUSE)
        retry = Retry(backoff, tries - 2, supported_errors=(StoreUnavailableError,))
        return retry.call_with_retry(lambda: self._call_once(commands), ignore)

    def _call_once(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._take()
        try:
            packed = b"".join(part for each in commands for part in connection.pack_command(*each))
            connection.send_packed_command([packed])
            answers = [_answer(connection) for _ in commands]
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise self._unavailable(error) from error
        except BaseException:
            # Whatever came in between, later answers must not be taken for those of others.
            connection.disconnect()
            raise
        self._idle.append((connection, time.monotonic()))
        # What was sent in a transaction has its answers in the last one.
        executed = answers[-1] if commands[-1][0] == "EXEC" else None
        for answer in (*answers, *(executed if isinstance(executed, list) else ())):
            if isinstance(answer, RedisError) and _is_passing(answer):
                # After a failover the name of the host may lead to another server.
                self._disconnect_idle()
                raise self._unavailable(answer)
        return answers

    def _take(self) -> Any:
        """Return a connection that nobody uses, a fresh one if need be.

        The pool of redis-py costs as much as a short command, so it only makes them.
        """
        if self._pid != os.getpid():  # a fork must not write to the sockets of its parent
            self._pid, self._idle = os.getpid(), deque()
        try:
            connection, used = self._idle.pop()
        except IndexError:
            return self._pool.make_connection()
        if time.monotonic() - used > TRUSTED and _is_dead(connection):
            connection.disconnect()  # it connects again when it is used
        return connection

    def _disconnect_idle(self) -> None:
        while self._idle:
            with suppress(IndexError, RedisError, OSError):
                self._idle.pop()[0].disconnect()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise errors of the connection as :class:`StoreUnavailableError`."""
        try:
            yield
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def translate(self, error: Exception) -> AlligatorException:
        """Return what to raise for the error that a single command was answered with."""
        text = str(error)
        if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
            return QueueFull(
                f"{self._shown} has reached its maxmemory and stores no more tasks. Give it more, "
                "or let workers empty the queue."
            )
        if "WRONGTYPE" in text:
            return SchemaError(
                f"{self._shown} has other data under a key that begins with 'alligator:'. Remove "
                f"it, or use another database. ({text})"
            )
        if isinstance(error, MovedError):
            return StoreUnavailableError(
                f"{self._shown} is one node of a Redis Cluster with several, which is not "
                "supported: give a server, or a proxy in front of the cluster."
            )
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        problem = StoreUnavailableError(f"Redis at {self._shown}: {hide_password(str(error))}")
        problem.__cause__ = error
        return problem

    def pubsub(self) -> PubSub:
        """Return a new subscription, with a connection of its own."""
        return PubSub(self._pool)

    def close(self) -> None:
        """Close all connections; the next call makes new ones."""
        self._disconnect_idle()
        with suppress(RedisError, OSError):
            self._pool.disconnect()


def check_url(conn_string: str) -> None:
    """Refuse what redis-py takes for database 0 without a word, and what we cannot heed.

    Raises:
        InvalidOptionError: The database is no number, or a parameter is unknown.
    """
    shown = hide_password(conn_string)
    url = urlsplit(conn_string)
    path = url.path.strip("/")
    if url.scheme != "unix" and path and not path.isdigit():
        raise InvalidOptionError(
            f"{shown}: {path!r} is no database; they have numbers, as in redis://host/0."
        )
    for name in parse_qs(url.query, keep_blank_values=True):
        if name not in PARAMETERS and not name.startswith("ssl_"):
            raise InvalidOptionError(
                f"{shown}: there is no parameter {name!r}. There are "
                f"{', '.join(sorted(PARAMETERS))}, and ssl_… for rediss://."
            )


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:  # of this command alone; the others have answers too
        return error


def _is_dead(connection: Any) -> bool:
    try:
        return bool(connection.can_read())  # nothing was asked, so that is its end
    except (RedisError, OSError):
        return True


def _is_passing(error: RedisError) -> bool:
    # Redis 6 hides the error of a command behind that of the script.
    return isinstance(error, _PASSING) or "-READONLY" in str(error)
