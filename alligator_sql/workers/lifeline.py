"""What a worker process has in common with its supervisor: a socket.

Through it the supervisor hears that the worker is up, and the worker that its supervisor is
gone, however that died.
"""

import os
import signal
import socket
import threading
from contextlib import suppress
from typing import Self

VARIABLE = "ALLIGATOR_LIFELINE"
"""The environment variable with the number of the worker's end; only supervisors set it."""
UP = b"u"
"""What a worker says once it is up."""


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
