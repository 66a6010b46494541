"""A proxy that stands between a client and a server, and lets the network fail."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Literal, Self

Direction = Literal["questions", "answers"]


class Proxy:
    """Passes on what a client and a server on this machine say to each other.

    Args:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._swallowed: set[Direction] = set()
        self._left: int | None = None
        self._counting = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self.swallowing = threading.Event()
        """Set once something was swallowed."""
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def lead_to(self, port: int) -> None:
        """Lead new connections to another server, as a name does after a failover."""
        self._target = port

    def swallow(self, *directions: Direction) -> None:
        """Lose what is said in ``directions`` from now on; nothing to lose no more."""
        self.swallowing.clear()
        self._swallowed = set(directions)

    def stall(self) -> None:
        """Hold everything back until :meth:`flow`, without closing anything."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass on what was held back."""
        self._flowing.set()

    def cut(self, count: int) -> None:
        """Pass on ``count`` more bytes of either direction, then break all connections."""
        self._left = count

    def reset(self) -> None:
        """Break all connections; new ones are accepted."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break all connections and accept no more."""
        # Closing alone would leave a thread in accept(), for whoever gets the descriptor next.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.flow()
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                self._pump(client, server, "questions")
                self._pump(server, client, "answers")

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        def pump() -> None:
            with suppress(OSError), source, sink, _shut(source, sink):
                while said := source.recv(65536):
                    self._flowing.wait()
                    if direction in self._swallowed:
                        self.swallowing.set()
                        continue
                    passed = self._before_cut(said)
                    sink.sendall(passed)
                    if len(passed) < len(said):
                        self.reset()

        threading.Thread(target=pump, daemon=True).start()

    def _before_cut(self, said: bytes) -> bytes:
        """Return what still goes through of ``said``: all of it, unless a cut falls into it."""
        with self._counting:
            if self._left is None:
                return said
            passed = said[: self._left]
            self._left = None if len(passed) < len(said) else self._left - len(passed)
            return passed


@contextmanager
def _shut(*ends: socket.socket) -> Iterator[None]:
    """Shut both ends down after the block: closing alone tells nobody while a thread reads."""
    try:
        yield
    finally:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
