"""TLS in front of a server that has none."""

import select
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .helpers import PATIENCE

HOST = "127.0.0.1"


class TLS:
    """Takes encrypted connections and passes them on to ``port``.

    Args:
        port: Where the server listens.
        folder: Where the certificate goes; it vouches for itself.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        _make_certificate(self.certificate, key)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.certificate, key)
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._servers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for end in (self._listener, *self._servers):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._target))
                self._servers.append(server)
                thread = threading.Thread(target=self._serve, args=(client, server))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        client.settimeout(PATIENCE)
        with (
            client,
            server,
            suppress(OSError),
            self._context.wrap_socket(client, server_side=True) as secure,
        ):
            while True:
                ready, _, _ = select.select([secure, server], [], [])
                for source, sink in ((secure, server), (server, secure)):
                    if source in ready and not _pass_on(source, sink):
                        return


def _pass_on(source: socket.socket, sink: socket.socket) -> bool:
    """Pass on what ``source`` has to say now, and return whether it may say more."""
    said = source.recv(65536)
    while isinstance(source, ssl.SSLSocket) and source.pending():
        said += source.recv(65536)
    sink.sendall(said)
    return bool(said)


def _make_certificate(certificate: Path, key: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
