"""A worker process that has a supervisor, and the socket between the two.

Through it the supervisor hears that the worker is up, and the worker that its supervisor is
gone, however that died.
"""

import os
import signal
import socket
import threading
from contextlib import suppress
from typing import Self

from .worker import Worker

VARIABLE = "ALLIGATOR_LIFELINE"
"""The environment variable with the number of the worker's end; only supervisors set it."""
UP = b"u"
"""What a worker says once it is up."""

STAGES = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
"""What a supervisor sends for the first, the second and the third signal to stop."""


class Lifeline:
    """The worker's end.

    Args:
        connection: A socket to the supervisor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        threading.Thread(target=self._watch, name="alligator-lifeline", daemon=True).start()

    @classmethod
    def inherited(cls) -> Self | None:
        """Return the lifeline of this process, or None when no supervisor has started it."""
        descriptor = os.environ.pop(VARIABLE, None)
        if descriptor is None:
            return None
        connection = socket.socket(fileno=int(descriptor))
        connection.set_inheritable(False)  # it is not for what tasks start
        return cls(connection)

    def up(self) -> None:
        """Say that the worker runs."""
        with suppress(OSError):  # without a supervisor nobody needs to know
            self._socket.sendall(UP)

    def _watch(self) -> None:
        with suppress(OSError):
            while self._socket.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


class SupervisedWorker(Worker):
    """A worker that lets its supervisor know when it is up, if it has one.

    It takes SIGTERM for the first signal to stop and SIGINT for the second one, however often
    they come: systemd sends a SIGTERM to all processes, and its supervisor passes on its own.
    """

    lifeline: Lifeline | None = None

    def starting(self) -> None:
        """Say that the worker starts."""
        super().starting()
        if self.lifeline is not None:
            self.lifeline.up()

    def _stage_after(self, number: int) -> int:
        if self.lifeline is None:
            return super()._stage_after(number)
        return max(self._signals, STAGES.index(number) + 1)
