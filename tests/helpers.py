"""What many tests need."""

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

PATIENCE = 60.0
"""Seconds to wait for what must happen: much more than it ever takes."""


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Return once ``condition()`` is true.

    Raises:
        AssertionError: It is not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
        pause.wait(0.01)


def in_transactions(engine: Engine) -> Engine:
    """Return ``engine`` as an application has it: nothing commits by itself."""
    level = "READ COMMITTED" if engine.dialect.name == "postgresql" else "SERIALIZABLE"
    return engine.execution_options(isolation_level=level)


def free_port() -> int:
    """Return a port that nobody has at the moment.

    It is none of those that the system gives to whoever connects, which may be taken at any time.
    """
    anywhere = random.SystemRandom()
    while True:
        port = anywhere.randrange(15_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Background(threading.Thread):
    """Runs a function on a thread and keeps what it returns or raises."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._value
