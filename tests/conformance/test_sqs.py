"""The conformance suite on SQS, as moto plays it."""

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from alligator_sql.backends import Backend
from alligator_sql.backends.sqs import SQSBackend, backend, receivers
from alligator_sql.testing.conformance import BackendConformance
from tests.sqs_servers import SQSServer


class TestSQS(BackendConformance):
    queue_names: ClassVar = ("x" * 70, "A", "0", "_", "-", "a-b_c", "mail-dead")

    @pytest.fixture
    def backend(
        self, sqs_server: SQSServer, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[SQSBackend]:
        # moto has one server, which is asked at once
        monkeypatch.setattr(backend, "THOROUGH_WAIT", 0)
        # a thorough claim waits for the polls of the threads
        monkeypatch.setattr(receivers, "LONG_POLL", 1)
        self.server = sqs_server
        for name in ("mail", "other", "a", "b", "c", *self.queue_names):
            sqs_server.create_queue(sqs_server.prefix + name)
        store = SQSBackend(sqs_server.dsn(sqs_server.prefix))
        yield store
        store.close()

    def advance(self, backend: Backend, seconds: float) -> None:
        self.server.advance(seconds)

    def check_wakes(self, backend: Backend, act: Callable[[], object]) -> None:
        # What no claim has asked for is not fetched, so nobody hears of it.
        assert backend.claim(["mail"], 1, self.worker(backend)) == []
        super().check_wakes(backend, act)
