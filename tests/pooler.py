"""A transaction pooler, as PgBouncer is one: clients share few connections to the server.

A client has a server connection for the time of a transaction only. What the server says to a
connection that no client has is lost, notifications among it.
"""

import secrets
import select
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

Message = tuple[bytes, bytes]
"""Kind and body of a message."""
NEGOTIATIONS = (80877103, 80877104)
"""Codes by which a client asks for encryption."""
VERSION_3 = 196608


class Pooler:
    """Stands before a PostgreSQL server that trusts everybody on this machine.

    Args:
        port: Where the server listens.
        database: To which database all clients are connected.
    """

    def __init__(self, port: int, database: str = "postgres") -> None:
        self._target = port
        self._database = database
        self._idle: list[Line] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Accept no more clients, and leave the server."""
        # Closing alone would leave a thread in accept(), for whoever gets the descriptor next.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _accept(self) -> None:
        with suppress(OSError), self._listener:
            while True:
                client = Line(self._listener.accept()[0])
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: "Line") -> None:
        with suppress(OSError), client:
            greeting = client.greeting()
            if greeting is None:
                return
            if b"options" in greeting:
                client.send(b"E", b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0")
                return
            server = self._take()
            client.send(b"R", struct.pack("!i", 0))
            for parameter in server.parameters:
                client.send(b"S", parameter)
            self._idle.append(server)
            client.send(b"K", struct.pack("!ii", secrets.randbelow(2**30) + 2**30, 0))
            client.send(b"Z", b"I")
            while (first := client.read()) is not None and first[0] != b"X":
                server = self._take()
                try:
                    self._transaction(client, server, first)
                except BaseException:
                    server.close()  # nobody knows in what state it is
                    raise
                self._idle.append(server)

    def _transaction(self, client: "Line", server: "Line", first: Message) -> None:
        """Pass on everything until a transaction that begins with ``first`` is over."""
        unanswered = _asks(first)
        server.send(*first)
        while True:
            ready, _, _ = select.select([client.socket, server.socket], [], [])
            if client.socket in ready:
                said = client.read()
                if said is None or said[0] == b"X":
                    raise ConnectionError("the client has left in a transaction")
                unanswered += _asks(said)
                server.send(*said)
            if server.socket in ready:
                said = server.read()
                if said is None:
                    raise ConnectionError("the server has closed the connection")
                client.send(*said)
                if said[0] == b"Z":
                    unanswered -= 1
                    if said[1] == b"I" and unanswered == 0:
                        return

    def _take(self) -> "Line":
        with self._lock:
            while self._idle:
                line = self._idle.pop()
                if line.forget():
                    return line
        line = Line(socket.create_connection(("127.0.0.1", self._target)))
        line.log_in(self._database)
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Line:
    """A connection on which messages of PostgreSQL's protocol are passed."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.parameters: list[bytes] = []

    def greeting(self) -> bytes | None:
        """Return the parameters with which a client starts; None when it wants to cancel."""
        while True:
            (length,) = struct.unpack("!i", self._exactly(4))
            code, body = struct.unpack(f"!i{length - 8}s", self._exactly(length - 4))
            if code == VERSION_3:
                return bytes(body)
            if code not in NEGOTIATIONS:
                return None
            self.socket.sendall(b"N")

    def log_in(self, database: str) -> None:
        """Start a session with a server."""
        body = f"user\0postgres\0database\0{database}\0application_name\0pooler\0\0".encode()
        self.socket.sendall(struct.pack("!ii", len(body) + 8, VERSION_3) + body)
        while (said := self.read()) is not None and said[0] != b"Z":
            if said[0] == b"S":
                self.parameters.append(said[1])
        if said is None:
            raise ConnectionError("the server has refused the session")

    def read(self) -> Message | None:
        """Return the next message, or None at the end."""
        try:
            kind, length = struct.unpack("!ci", self._exactly(5))
            return kind, self._exactly(length - 4)
        except ConnectionError:
            return None

    def send(self, kind: bytes, body: bytes) -> None:
        """Send a message."""
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def forget(self) -> bool:
        """Drop what was said while nobody listened; return whether the server is still there."""
        while select.select([self.socket], [], [], 0)[0]:
            if self.read() is None:
                return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        said = b""
        while len(said) < count:
            part = self.socket.recv(count - len(said))
            if not part:
                raise ConnectionError("the other end has hung up")
            said += part
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _asks(message: Message) -> int:
    """How many answers a message of a client ends with: 1 for Query and Sync, 0 for others."""
    return int(message[0] in (b"Q", b"S"))
