"""Waiting for messages of the server, on a subscription that cannot die unnoticed."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ...exceptions import StoreUnavailableError
from .connections import Connections

PING_AFTER: Final = 10.0
"""Seconds of silence after which the server is asked for a sign of life."""
DEAD_AFTER: Final = 10.0
"""Seconds after which the connection counts as dead when there was none."""


class Listener:
    """A subscription to some channels, for the use of one thread.

    Args:
        connections: Where to get a connection.
        channels: The names of the channels.

    Raises:
        StoreUnavailableError: The server does not answer.
    """

    def __init__(self, connections: Connections, channels: Sequence[str]) -> None:
        self._connections = connections
        self._pubsub = connections.pubsub()
        try:
            with connections.translated():
                self._pubsub.subscribe(*channels)
        except StoreUnavailableError:
            self.close()
            raise
        self._unconfirmed = len(channels)
        self._heard = time.monotonic()
        self._asked: float | None = None

    def confirm(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds, and return whether messages come from now on."""
        deadline = time.monotonic() + timeout
        while self._unconfirmed > 0 and (rest := deadline - time.monotonic()) > 0:
            self._next(rest)
        return self._unconfirmed <= 0

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds and return whether there was a message.

        Raises:
            StoreUnavailableError: The connection is broken.
        """
        deadline = time.monotonic() + timeout
        while True:
            rest = max(0.0, deadline - time.monotonic())
            kind = self._next(min(rest, PING_AFTER))
            if kind == "message":
                while self._next(0.0):
                    pass  # several messages say no more than one
                return True
            if rest == 0.0:
                return False

    def _next(self, timeout: float) -> str | None:
        """Return the kind of the next message, or None when none came in time."""
        with self._connections.translated():
            message = self._pubsub.get_message(timeout=timeout)
            now = time.monotonic()
            if message is not None:
                self._heard, self._asked = now, None
                self._unconfirmed -= message["type"] == "subscribe"
                return str(message["type"])
            if self._asked is not None and now - self._asked > DEAD_AFTER:
                raise RedisConnectionError(f"no sign of life for {now - self._heard:.0f} s")
            if self._asked is None and now - self._heard > PING_AFTER:
                self._pubsub.ping()
                self._asked = now
            return None

    def close(self) -> None:
        """Close the connection."""
        with suppress(RedisError, OSError):
            self._pubsub.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
