"""An SQS for the tests: moto behind HTTP, with a clock that moves and faults on demand."""

import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from unittest import mock
from urllib.parse import quote

import moto.sqs.models
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.server import ThreadedMotoServer
from moto.sqs.models import Queue, sqs_backends
from werkzeug.serving import make_server

REGION = "us-west-2"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
"""Makes sure that boto3 finds these credentials and no others."""

Answer = tuple[int, dict[str, Any]]
Handle = Callable[[dict[str, Any]], Answer]
Fault = Callable[[dict[str, Any], Handle], Answer]
"""Gets a request and what would answer it; returns the answer."""


@dataclass
class Call:
    """A request that came."""

    action: str
    request: dict[str, Any]
    answer: Answer = field(default=(0, {}))


class SQSServer:
    """SQS on a port of this machine.

    moto is not made for threads and does not wait well, so requests take turns here, and
    long polls wait here too.

    Attributes:
        calls: All requests that were answered, in their order.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._faults: dict[str, deque[Fault]] = {}
        self._ahead = 0.0
        self._changed = threading.Condition()
        self._resets = 0
        self._stopping = False
        self._patches = [
            mock.patch.object(moto.sqs.models, "unix_time", self.now),
            mock.patch.object(moto.sqs.models, "unix_time_millis", self._now_in_ms),
        ]
        for patch in self._patches:
            patch.start()
        self._moto = _Server(self)
        self._moto.start()
        self.port = self._moto.get_host_and_port()[1]

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def prefix(self) -> str:
        """What queue names start with that had no meaning before the last reset.

        A poll of an earlier test that is still on its way cannot take messages out of them.
        """
        return f"t{self._resets}-"

    def dsn(self, prefix: str = "") -> str:
        """Return the connection string of the queues that start with ``prefix``."""
        return f"sqs://{REGION}/?endpoint={quote(self.endpoint)}&prefix={prefix}"

    def now(self) -> float:
        """Return the time of the server."""
        return time.time() + self._ahead

    def _now_in_ms(self) -> float:
        return self.now() * 1000

    def advance(self, seconds: float) -> None:
        """Move its clock into the future."""
        with self._changed:
            self._ahead += seconds
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget queues, calls and faults, and set the clock right."""
        with self._changed:
            self._resets += 1
            sqs_backends.reset()
            self.calls = []
            self._faults = {}
            self._ahead = 0.0
            self._changed.notify_all()

    def create_queue(self, name: str, **attributes: Any) -> Queue:
        """Make a queue without a request."""
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        with self._changed:
            queue = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].create_queue(name, **attributes)
        assert isinstance(queue, Queue)
        return queue

    def redrive(self, name: str, receives: int, to: str) -> None:
        """Let a queue give to another one what was received so often."""
        with self._changed:
            policy = {"deadLetterTargetArn": self._queue(to).queue_arn, "maxReceiveCount": receives}
            self._queue(name)._setup_dlq(policy)

    def show_all(self, name: str) -> None:
        """Let everything in flight be handed out again, as SQS may do at any time."""
        with self._changed:
            for message in self._queue(name)._messages:
                message.visible_at = 0
            self._changed.notify_all()

    def counts(self, name: str) -> tuple[int, int, int]:
        """Return how many messages of a queue wait, are delayed and are in flight."""
        with self._changed:
            queue = self._queue(name)
            return (
                queue.approximate_number_of_messages,
                queue.approximate_number_of_messages_delayed,
                queue.approximate_number_of_messages_not_visible,
            )

    @staticmethod
    def _queue(name: str) -> Queue:
        found = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[name]
        assert isinstance(found, Queue)
        return found

    def count(self, action: str) -> int:
        """Return how many requests of a kind were answered."""
        return sum(call.action == action for call in tuple(self.calls))

    # Faults

    def fault(self, action: str, fault: Fault, times: int = 1) -> None:
        """Let ``fault`` answer the next requests of a kind."""
        self._faults.setdefault(action, deque()).extend([fault] * times)

    def refuse(self, action: str, code: str, status: int = 400, times: int = 1) -> None:
        """Refuse whole requests."""
        self.fault(action, lambda *_: (status, {"__type": code, "message": "as told"}), times)

    def refuse_entry(
        self, action: str, index: int, *, sender_fault: bool, times: int = 1, code: str = "Odd"
    ) -> None:
        """Refuse one entry of a batch and take the others."""

        def fault(request: dict[str, Any], handle: Handle) -> Answer:
            return self.without_entry(request, handle, index, sender_fault=sender_fault, code=code)

        self.fault(action, fault, times)

    @staticmethod
    def without_entry(
        request: dict[str, Any],
        handle: Handle,
        index: int,
        *,
        sender_fault: bool,
        code: str = "Odd",
    ) -> Answer:
        """Return the answer to a request of which one entry is refused."""
        entries = list(request["Entries"])
        refused = entries.pop(index)
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        if entries:
            _, answer = handle(request | {"Entries": entries})
        failure = {
            "Id": refused["Id"], "SenderFault": sender_fault, "Code": code, "Message": "as told"
        }  # fmt: skip
        return 200, answer | {"Failed": [*answer.get("Failed", []), failure]}

    # Answering

    def answer(self, app: Any, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer one request, as WSGI has it."""
        action = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        request = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))

        def handle(changed: dict[str, Any]) -> Answer:
            return self._in_moto(app, environ, changed)

        faults = self._faults.get(action)
        fault = faults.popleft() if faults else None
        status, body = fault(request, handle) if fault else handle(request)
        self.calls.append(Call(action, request, (status, body)))
        text = json.dumps(body).encode()
        length = str(len(text))
        headers = [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", length)]
        start(f"{status} {HTTPStatus(status).phrase}", headers)
        return [text]

    def _in_moto(self, app: Any, environ: dict[str, Any], request: dict[str, Any]) -> Answer:
        deadline = time.monotonic() + request.get("WaitTimeSeconds", 0)
        if "WaitTimeSeconds" in request:
            request = request | {"WaitTimeSeconds": 0}
        with self._changed:
            while True:
                answer = self._once(app, environ, request)
                rest = deadline - time.monotonic()
                if rest <= 0 or self._stopping or answer[0] != 200 or answer[1].get("Messages"):
                    self._changed.notify_all()
                    return answer
                # what is hidden comes back without a notification
                self._changed.wait(min(rest, 0.1))

    @staticmethod
    def _once(app: Any, environ: dict[str, Any], request: dict[str, Any]) -> Answer:
        text = json.dumps(request).encode()
        statuses: list[str] = []

        def start(status: str, *_: Any) -> None:
            statuses.append(status)

        changed = {"wsgi.input": io.BytesIO(text), "CONTENT_LENGTH": str(len(text))}
        body = b"".join(app(environ | changed, start))
        return int(statuses[0].split()[0]), json.loads(body or b"{}")

    def close(self) -> None:
        """Stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._moto.stop()
        for patch in self._patches:
            patch.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadedMotoServer):
    """moto's own server, with something before it."""

    def __init__(self, front: SQSServer) -> None:
        super().__init__("127.0.0.1", 0, verbose=False)
        self._front = front

    def _server_entry(self) -> None:
        app = DomainDispatcherApplication(create_backend_app)
        front = self._front

        class Handler(MotoRequestHandler):
            protocol_version = "HTTP/1.1"

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(front.now() if timestamp is None else timestamp)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass

        def wsgi(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            return front.answer(app, environ, start)

        self._server = make_server(
            self._ip_address, self._port, wsgi, threaded=True, request_handler=Handler
        )
        self._server_ready_event.set()
        self._server.serve_forever()

    def stop(self) -> None:
        super().stop()
        if self._server is not None:
            self._server.server_close()
