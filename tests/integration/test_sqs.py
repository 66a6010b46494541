"""What SQS may do to us, and what we do about it: moto behind HTTP, with faults on demand."""

import json
import logging
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest

from alligator_sql import Gator, Worker
from alligator_sql.backends.sqs import SQSBackend, batches, receivers, service
from alligator_sql.backends.sqs import backend as backend_module
from alligator_sql.backends.sqs import queues as in_sqs
from alligator_sql.exceptions import (
    AlligatorException,
    InvalidOptionError,
    PayloadError,
    SchemaError,
    StoreUnavailableError,
    Unsupported,
)
from alligator_sql.messages import Claim, Failure, Moment, WorkerRecord
from alligator_sql.outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)
from alligator_sql.testing.clock import ManualClock
from alligator_sql.testing.conformance import message
from tests.compat.tasks import add, fail_at_first
from tests.helpers import PATIENCE, Background, wait_until
from tests.sqs_servers import REGION, Answer, Handle, SQSServer

from . import tasks
from .commands import MODULE, environment, run

PROJECT = Path(__file__).parents[2]
TTL = 30.0
FAILURE = Failure("ValueError", "no such \x00 follower", "Traceback …", "gone")
NOBODY = (0, 0, 0)
"""The counts of an empty queue."""
WITHOUT = """
import sys
from alligator_sql import Gator

class Without:
    def find_spec(name, path, target=None):
        if name == "{package}":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Without)
Gator("{dsn}")
"""
"""A program on a machine that lacks a package."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto has one server, which knows at once; and nothing happens behind our back."""
    monkeypatch.setattr(backend_module, "THOROUGH_WAIT", 0)
    monkeypatch.setattr(service, "ATTEMPTS", 1)
    monkeypatch.setattr(batches, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(receivers, "UNCLAIMED_AFTER", 3600.0)


@pytest.fixture
def server(sqs_server: SQSServer) -> SQSServer:
    return sqs_server


@pytest.fixture
def dsn(server: SQSServer) -> str:
    return server.dsn(server.prefix)


@pytest.fixture
def mail(server: SQSServer) -> str:
    """The full name of the queue that most tests use."""
    name = f"{server.prefix}mail"
    server.create_queue(name)
    return name


@pytest.fixture
def dead(server: SQSServer, mail: str) -> str:
    """The full name of its dead-letter queue, which gets what was received three times."""
    name = f"{mail}-dead"
    server.create_queue(name)
    server.redrive(mail, 3, name)
    return name


@pytest.fixture
def open_backend(dsn: str) -> Iterator[Callable[..., SQSBackend]]:
    """Open backends, as other processes have them."""
    opened: list[SQSBackend] = []

    def open_backend(**options: Any) -> SQSBackend:
        opened.append(SQSBackend(dsn, **options))
        return opened[-1]

    yield open_backend
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_backend: Callable[..., SQSBackend], mail: str) -> SQSBackend:
    return open_backend()


@pytest.fixture
def gator(dsn: str, mail: str) -> Iterator[Gator]:
    gator = Gator(dsn, "mail")
    yield gator
    gator.close()


def record_of(*queues: str, ttl: float = TTL) -> WorkerRecord:
    return WorkerRecord(uuid4(), "host", os.getpid(), queues or ("mail",), ttl)


def worker_of(backend: SQSBackend, *queues: str) -> UUID:
    record = record_of(*queues)
    assert backend.heartbeat(record, first=True)
    return record.id


def claim(backend: SQSBackend, limit: int = 10, queue: str = "mail") -> list[Claim]:
    """Claim what SQS has, with a new worker."""
    worker = worker_of(backend, queue)
    claims: list[Claim] = []
    while more := backend.claim([queue], limit - len(claims), worker, thorough=True):
        claims += more
        if len(claims) == limit:
            break
    return claims


def settle(backend: SQSBackend, claims: Sequence[Claim], outcome: Outcome) -> set[UUID]:
    return backend.ack([Settlement(one, outcome) for one in claims])


def sizes(server: SQSServer, action: str) -> list[int]:
    """Return how many entries the requests of a kind had."""
    return [len(call.request["Entries"]) for call in server.calls if call.action == action]


def bodies(server: SQSServer) -> list[dict[str, Any]]:
    """Return what was sent, in its order."""
    return [
        json.loads(entry["MessageBody"]) | {"DelaySeconds": entry.get("DelaySeconds")}
        for call in server.calls
        if call.action == "SendMessageBatch"
        for entry in call.request["Entries"]
    ]


def client_of(server: SQSServer) -> Any:
    """Return a client as other programs have it."""
    return boto3.client("sqs", region_name=REGION, endpoint_url=server.endpoint)


def send_raw(server: SQSServer, queue: str, *texts: str) -> None:
    """Send what is not ours, as another program does."""
    with closing(client_of(server)) as client:
        url = client.get_queue_url(QueueName=queue)["QueueUrl"]
        for text in texts:
            client.send_message(QueueUrl=url, MessageBody=text)


class Held:
    """A fault that keeps the answer to a request until the test lets it go."""

    def __init__(self, server: SQSServer, action: str) -> None:
        self.request: dict[str, Any] = {}
        self._came = threading.Event()
        self._answered = threading.Event()
        self._let_go = threading.Event()
        server.fault(action, self)

    def __call__(self, request: dict[str, Any], handle: Handle) -> Answer:
        self.request = request
        self._came.set()
        answer = handle(request)
        self._answered.set()
        assert self._let_go.wait(PATIENCE)
        return answer

    def came(self) -> None:
        """Wait until SQS has the request."""
        assert self._came.wait(PATIENCE)

    def answered(self) -> None:
        """Wait until SQS has done what it was asked for, which nobody has heard of yet."""
        assert self._answered.wait(PATIENCE)

    def let_go(self) -> None:
        self._let_go.set()


# Waiting


def test_an_idle_worker_waits_for_long_and_hears_at_once(
    server: SQSServer, backend: SQSBackend
) -> None:
    poll = Held(server, "ReceiveMessage")
    poll.let_go()
    worker = worker_of(backend)
    assert backend.claim(["mail"], 25, worker) == []
    poll.came()
    asked = {name: poll.request[name] for name in ("WaitTimeSeconds", "MaxNumberOfMessages")}
    assert asked == {"WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}
    assert poll.request["VisibilityTimeout"] == TTL
    [receipt] = backend.enqueue([message()])
    assert backend.listen(["mail"], 15)
    assert [one.id for one in backend.claim(["mail"], 25, worker)] == [receipt.id]
    assert server.count("ReceiveMessage") <= 2


def test_a_thorough_claim_waits_for_what_a_thread_has_just_received(
    server: SQSServer, backend: SQSBackend
) -> None:
    [receipt] = backend.enqueue([message()])
    answer = Held(server, "ReceiveMessage")
    assert backend.claim(["mail"], 1, worker_of(backend)) == []
    answer.answered()
    claiming = Background(lambda: backend.claim(["mail"], 1, worker_of(backend), thorough=True))
    wait_until(lambda: server.count("ReceiveMessage") == 1)  # and it was told that nothing is there
    answer.let_go()
    assert [one.id for one in claiming.result()] == [receipt.id]


def test_a_thorough_claim_waits_for_what_goes_back(server: SQSServer, backend: SQSBackend) -> None:
    [receipt] = backend.enqueue([message()])
    leaving = worker_of(backend)
    assert backend.claim(["mail"], 1, leaving) == []
    assert backend.listen(["mail"], 20)  # nobody has claimed it
    going_back = threading.Event()
    let_go = threading.Event()

    def go_back(request: dict[str, Any], handle: Handle) -> Answer:
        going_back.set()
        assert let_go.wait(PATIENCE)
        return handle(request)

    server.fault("ChangeMessageVisibilityBatch", go_back)
    left = Background(lambda: backend.leave(leaving, holds=False))
    assert going_back.wait(PATIENCE)
    asked = server.count("ReceiveMessage")
    claiming = Background(lambda: backend.claim(["mail"], 1, worker_of(backend), thorough=True))
    wait_until(lambda: server.count("ReceiveMessage") > asked)
    let_go.set()
    assert [one.id for one in claiming.result()] == [receipt.id]
    left.result()


def test_a_thorough_claim_ends_with_the_polls_that_found_nothing(
    server: SQSServer, backend: SQSBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "LONG_POLL", 1)
    assert backend.claim(["mail"], 1, worker_of(backend)) == []
    assert backend.claim(["mail"], 1, worker_of(backend), thorough=True) == []


def test_one_process_holds_more_than_a_request_can_bring(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    backend.enqueue([message() for _ in range(95)])
    worker = worker_of(backend)
    claims: list[Claim] = []
    at_once = 0
    lock = threading.Lock()
    under_way = 0
    meeting = threading.Barrier(2)

    def meet(request: dict[str, Any], handle: Handle) -> Answer:
        nonlocal under_way, at_once
        with lock:
            under_way += 1
            at_once = max(at_once, under_way)
        answer = handle(request)
        with lock:
            under_way -= 1
        return answer

    def together(request: dict[str, Any], handle: Handle) -> Answer:
        meeting.wait(PATIENCE)  # both are under way
        return handle(request)

    server.fault("ReceiveMessage", meet)
    server.fault("ReceiveMessage", together, times=2)

    def all_claimed() -> bool:
        claims.extend(backend.claim(["mail"], 95 - len(claims), worker))
        return len(claims) == 95

    wait_until(all_claimed)
    assert len({one.id for one in claims}) == 95
    assert server.counts(mail) == (0, 0, 95)
    assert len(settle(backend, claims, Succeeded())) == 95
    assert server.counts(mail) == NOBODY


def test_what_nobody_claims_goes_back(
    server: SQSServer, backend: SQSBackend, mail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "UNCLAIMED_AFTER", 0.0)
    backend.enqueue([message()])
    assert backend.claim(["mail"], 1, worker_of(backend)) == []
    wait_until(lambda: backend.listen(["mail"], 0.01) or server.counts(mail) == (1, 0, 0))
    wait_until(lambda: not backend.listen(["mail"], 0.01) and server.counts(mail) == (1, 0, 0))


# Batches that fail in part


def test_many_messages_travel_in_batches(server: SQSServer, backend: SQSBackend, mail: str) -> None:
    backend.enqueue([message() for _ in range(25)])
    assert sizes(server, "SendMessageBatch") == [10, 10, 5]
    assert backend.len("mail") == 25


def test_large_messages_travel_in_smaller_batches(server: SQSServer, backend: SQSBackend) -> None:
    backend.enqueue([message(payload="x" * 400_000) for _ in range(3)])
    assert sizes(server, "SendMessageBatch") == [2, 1]


@pytest.mark.parametrize("index", [0, 4, 9])
def test_only_the_entry_that_sqs_could_not_store_is_sent_again(
    server: SQSServer, backend: SQSBackend, index: int
) -> None:
    server.refuse_entry("SendMessageBatch", index, sender_fault=False)
    server.refuse_entry("SendMessageBatch", 0, sender_fault=False)
    sent = [message() for _ in range(10)]
    backend.enqueue(sent)
    assert sizes(server, "SendMessageBatch") == [10, 1, 1]
    assert bodies(server)[-1]["id"] == str(sent[index].id)
    assert {one.id for one in claim(backend, 20)} == {one.id for one in sent}


def test_a_fault_of_the_sender_is_raised_and_not_tried_again(
    server: SQSServer, backend: SQSBackend
) -> None:
    server.refuse_entry("SendMessageBatch", 3, sender_fault=True, code="InvalidParameterValue")
    with pytest.raises(AlligatorException, match="InvalidParameterValue: as told"):
        backend.enqueue([message() for _ in range(10)])
    assert sizes(server, "SendMessageBatch") == [10]
    assert backend.len("mail") == 9


def test_an_entry_that_sqs_never_stores_is_told(server: SQSServer, backend: SQSBackend) -> None:
    server.refuse_entry("SendMessageBatch", 0, sender_fault=False, times=batches.ATTEMPTS)
    with pytest.raises(StoreUnavailableError, match="Odd: as told"):
        backend.enqueue([message(), message()])
    assert sizes(server, "SendMessageBatch") == [2, 1, 1, 1, 1]


@pytest.mark.parametrize("index", [0, 6])
def test_only_the_entry_that_sqs_could_not_delete_is_deleted_again(
    server: SQSServer, backend: SQSBackend, mail: str, index: int
) -> None:
    backend.enqueue([message() for _ in range(7)])
    claims = claim(backend, 7)
    server.refuse_entry("DeleteMessageBatch", index, sender_fault=False)
    assert settle(backend, claims, Succeeded()) == {one.id for one in claims}
    assert sizes(server, "DeleteMessageBatch") == [7, 1]
    assert server.counts(mail) == NOBODY


def test_a_message_that_cannot_be_deleted_is_told_as_stale(
    server: SQSServer, backend: SQSBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.enqueue([message(), message()])
    claims = claim(backend, 2)
    server.refuse_entry("DeleteMessageBatch", 0, sender_fault=True)
    assert settle(backend, claims, Succeeded()) == {claims[1].id}
    assert f"stale outcome of task {claims[0].id}" in caplog.text


def test_what_was_sent_before_the_service_went_away_is_not_sent_again(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    backend.enqueue([message() for _ in range(3)])
    claims = claim(backend, 3)
    server.refuse_entry("SendMessageBatch", 1, sender_fault=False)
    server.refuse("SendMessageBatch", "ServiceUnavailable", 503)
    with pytest.raises(StoreUnavailableError):
        settle(backend, claims, Retry(0.0, FAILURE, "again"))
    assert server.counts(mail) == (2, 0, 1)
    assert settle(backend, claims, Retry(0.0, FAILURE, "again")) == {one.id for one in claims}
    assert server.counts(mail) == (3, 0, 0)


def test_an_outcome_that_could_not_be_stored_may_be_given_again(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    backend.enqueue([message()])
    claims = claim(backend)
    server.refuse("DeleteMessageBatch", "ServiceUnavailable", 503)
    with pytest.raises(StoreUnavailableError):
        settle(backend, claims, Succeeded())
    assert settle(backend, claims, Succeeded()) == {claims[0].id}
    assert server.counts(mail) == NOBODY


def test_throttled_requests_are_sent_again_later(
    server: SQSServer, backend: SQSBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ATTEMPTS", 4)
    server.refuse("SendMessageBatch", "RequestThrottled", times=1)
    backend.enqueue([message()])
    assert server.count("SendMessageBatch") == 2
    assert backend.len("mail") == 1


def test_a_service_that_throttles_for_long_is_told(server: SQSServer, backend: SQSBackend) -> None:
    server.refuse("SendMessageBatch", "RequestThrottled")
    with pytest.raises(StoreUnavailableError, match=r"RequestThrottled"):
        backend.enqueue([message()])


def test_a_throttled_poll_is_told_and_tried_again(server: SQSServer, backend: SQSBackend) -> None:
    worker = worker_of(backend)
    backend.enqueue([message()])
    server.refuse("ReceiveMessage", "RequestThrottled")
    assert backend.claim(["mail"], 1, worker) == []
    assert backend.listen(["mail"], 20)
    with pytest.raises(StoreUnavailableError, match="RequestThrottled"):
        backend.claim(["mail"], 1, worker)
    assert backend.listen(["mail"], 20)
    assert len(backend.claim(["mail"], 1, worker)) == 1


# Delays


def test_sqs_keeps_a_delay_of_a_quarter_of_an_hour(server: SQSServer, backend: SQSBackend) -> None:
    backend.enqueue([message(due=Moment(899.5))])
    assert [(body["delay"], body["DelaySeconds"]) for body in bodies(server)] == [(0.0, 900)]
    assert claim(backend) == []
    server.advance(901)
    assert len(claim(backend)) == 1


def test_a_longer_delay_hops(server: SQSServer, backend: SQSBackend, mail: str) -> None:
    sent = message(due=Moment(2000.0))
    backend.enqueue([sent])
    for delayed in (900, 900, 200):
        assert claim(backend) == []
        assert server.counts(mail) == (0, 1, 0)
        assert bodies(server)[-1]["DelaySeconds"] == pytest.approx(delayed, abs=5)
        server.advance(delayed + 1)
    [due] = claim(backend)
    assert (due.id, due.attempts) == (sent.id, 1)
    assert due.age == pytest.approx(2003, abs=10)
    actions = [call.action for call in server.calls if "MessageBatch" in call.action]
    assert actions == ["SendMessageBatch"] + 2 * ["SendMessageBatch", "DeleteMessageBatch"]


def test_a_hop_that_breaks_off_in_the_middle_loses_nothing(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    sent = message(due=Moment(1000.0))
    backend.enqueue([sent])
    server.advance(901)
    server.refuse("SendMessageBatch", "ServiceUnavailable", 503)
    assert claim(backend) == []
    assert server.counts(mail) == (0, 0, 1)
    server.advance(TTL + 1)
    server.refuse("DeleteMessageBatch", "ServiceUnavailable", 503)
    assert claim(backend) == []
    assert server.counts(mail) == (0, 1, 1)  # both carry the task: it will run twice
    server.advance(100)
    assert [one.id for one in claim(backend)] == [sent.id, sent.id]


@pytest.mark.parametrize("days", [1.01, 300])
def test_a_delay_beyond_the_bound_is_refused(
    server: SQSServer, backend: SQSBackend, gator: Gator, days: float
) -> None:
    with pytest.raises(Unsupported, match=r"the limit is 86400 s. PostgreSQL"):
        backend.enqueue([message(), message(due=Moment(days * 86_400))])
    with pytest.raises(Unsupported, match=r"the limit is 86400 s"):
        gator.options(delay_by=days * 86_400).task(add, 1, 2)
    assert server.count("SendMessageBatch") == 0


@pytest.mark.parametrize("outcome", [Retry(1000.0, FAILURE, "again"), Snoozed(1000.0, OSError())])
def test_what_is_put_back_for_long_hops_too(
    server: SQSServer, backend: SQSBackend, outcome: Outcome
) -> None:
    sent = message()
    backend.enqueue([sent])
    settle(backend, claim(backend), outcome)
    server.advance(901)
    assert claim(backend) == []
    server.advance(105)
    [again] = claim(backend)
    attempts = 2 if isinstance(outcome, Retry) else 1
    assert (again.id, again.attempts) == (sent.id, attempts)


# Leases


def test_heartbeats_hide_what_a_worker_holds_in_batches(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    backend.enqueue([message() for _ in range(12)])
    record = record_of()
    assert backend.heartbeat(record, first=True)
    claims: list[Claim] = []
    while len(claims) < 12:
        claims += backend.claim(["mail"], 12, record.id, thorough=True)
    for _ in range(3):
        server.advance(20)
        assert backend.heartbeat(record)
    assert sizes(server, "ChangeMessageVisibilityBatch") == 3 * [10, 2]
    server.advance(20)
    assert server.counts(mail) == (0, 0, 12)
    server.advance(11)
    assert server.counts(mail) == (12, 0, 0)


def test_only_the_entry_that_sqs_could_not_hide_is_hidden_again(
    server: SQSServer, backend: SQSBackend, mail: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend.enqueue([message(), message(), message()])
    record = record_of()
    assert backend.heartbeat(record, first=True)
    claims = backend.claim(["mail"], 3, record.id, thorough=True)
    server.refuse_entry("ChangeMessageVisibilityBatch", 1, sender_fault=False)
    assert backend.heartbeat(record)
    assert sizes(server, "ChangeMessageVisibilityBatch") == [3, 1]
    assert caplog.records == []
    for _ in range(2):  # said once
        server.refuse_entry("ChangeMessageVisibilityBatch", 1, sender_fault=True)
        assert backend.heartbeat(record)
    [said] = caplog.records
    assert f"task {claims[1].id} is held no longer" in said.getMessage()


def test_a_heartbeat_that_sqs_does_not_take_is_told(server: SQSServer, backend: SQSBackend) -> None:
    backend.enqueue([message()])
    record = record_of()
    assert backend.heartbeat(record, first=True)
    assert backend.claim(["mail"], 1, record.id, thorough=True)
    server.refuse("ChangeMessageVisibilityBatch", "ServiceUnavailable", 503)
    with pytest.raises(StoreUnavailableError):
        backend.heartbeat(record)
    assert backend.heartbeat(record)


def test_a_worker_that_pauses_for_too_long_has_lost_its_tasks(
    server: SQSServer, open_backend: Callable[..., SQSBackend], mail: str
) -> None:
    clock = ManualClock()
    backend = open_backend(clock=clock)
    record = record_of()
    assert backend.heartbeat(record, first=True)
    clock.advance(TTL + 1)
    assert not backend.heartbeat(record)


def test_after_almost_twelve_hours_a_message_is_let_go_with_a_warning(
    server: SQSServer,
    open_backend: Callable[..., SQSBackend],
    mail: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    backend = open_backend(clock=clock)
    backend.enqueue([message()])
    record = record_of(ttl=3600.0)
    assert backend.heartbeat(record, first=True)
    [held] = backend.claim(["mail"], 1, record.id, thorough=True)
    for _ in range(13):
        clock.advance(3500)
        server.advance(3500)
        assert backend.heartbeat(record)
    [said] = caplog.records
    assert f"task {held.id} runs for almost 12 hours" in said.getMessage()
    assert sizes(server, "ChangeMessageVisibilityBatch") == 11 * [1]
    assert server.counts(mail) == (1, 0, 0)


@pytest.mark.parametrize("is_told", [True, False])
def test_the_next_incarnation_of_a_worker_may_have_what_the_last_one_lost(
    server: SQSServer, open_backend: Callable[..., SQSBackend], mail: str, is_told: bool
) -> None:
    clock = ManualClock()
    backend = open_backend(clock=clock)
    backend.enqueue([message()])
    record = record_of()
    assert backend.heartbeat(record, first=True)
    [lost] = backend.claim(["mail"], 1, record.id, thorough=True)
    for passing in (clock, server):
        passing.advance(TTL + 1)
    if is_told:  # else the worker has found it out by its own clock
        assert not backend.heartbeat(record)
    [again] = claim(backend)
    assert (again.id, again.attempts) == (lost.id, 1)
    assert settle(backend, [lost], Succeeded()) == set()
    assert settle(backend, [again], Succeeded()) == {lost.id}
    assert server.counts(mail) == NOBODY


def test_a_lease_that_sqs_cannot_hold_is_refused(gator: Gator) -> None:
    with pytest.raises(InvalidOptionError, match=r"lease=50000: .* 43200 s at most"):
        Worker(gator, lease=50_000).run_forever()


def test_a_message_that_is_delivered_twice_does_not_run_twice_in_one_process(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    backend.enqueue([message()])
    [first] = claim(backend)
    server.show_all(mail)
    assert claim(backend) == []
    assert settle(backend, [first], Succeeded()) == {first.id}
    assert server.counts(mail) == NOBODY


def test_a_message_that_is_delivered_twice_may_run_in_two_processes(
    server: SQSServer, open_backend: Callable[..., SQSBackend], mail: str
) -> None:
    one, other = open_backend(), open_backend()
    one.enqueue([message()])
    [first] = claim(one)
    server.show_all(mail)
    [second] = claim(other)
    assert (first.id, second.id) == (second.id, first.id)
    assert settle(other, [second], Succeeded()) == {first.id}
    assert settle(one, [first], Succeeded()) <= {first.id}
    assert server.counts(mail) == NOBODY


def test_handing_back_does_not_use_up_the_receives_of_a_sound_task(
    server: SQSServer, backend: SQSBackend, mail: str, dead: str
) -> None:
    [receipt] = backend.enqueue([message()])
    for _ in range(10):
        claims = claim(backend)
        assert [(one.id, one.attempts) for one in claims] == [(receipt.id, 1)]
        assert settle(backend, claims, Released()) == {receipt.id}
    assert server.counts(dead) == NOBODY


def test_a_task_that_kills_its_workers_goes_to_the_dead_letters(
    server: SQSServer, open_backend: Callable[..., SQSBackend], mail: str, dead: str
) -> None:
    open_backend().enqueue([message()])
    for _ in range(3):
        assert len(claim(open_backend())) == 1  # and that process dies
        server.advance(TTL + 1)
    assert claim(open_backend()) == []
    assert server.counts(dead) == (1, 0, 0)


# Outcomes


def test_a_retry_keeps_the_id_and_takes_what_the_hooks_changed(
    server: SQSServer, backend: SQSBackend, mail: str
) -> None:
    sent = message(task_id="order-7")
    backend.enqueue([sent])
    for attempts in (1, 2, 3):
        [one] = claim(backend)
        assert (one.id, one.attempts) == (sent.id, attempts)
        settle(backend, [one], Retry(0.0, FAILURE, f"changed {attempts}"))
    [one] = claim(backend)
    assert (one.id, one.payload, one.attempts) == (sent.id, "changed 3", 4)
    assert {body["task_id"] for body in bodies(server)} == {"order-7"}
    assert server.counts(mail) == (0, 0, 1)


def test_a_failure_is_kept_among_the_dead_letters(
    server: SQSServer, backend: SQSBackend, mail: str, dead: str
) -> None:
    [receipt] = backend.enqueue([message()])
    assert settle(backend, claim(backend), Failed(FAILURE)) == {receipt.id}
    assert (server.counts(mail), server.counts(dead)) == (NOBODY, (1, 0, 0))
    [entry] = server.calls[-2].request["Entries"]
    said = {name: value["StringValue"] for name, value in entry["MessageAttributes"].items()}
    assert said == {
        "Reason": "gone", "Error": r"ValueError: no such \x00 follower", "Traceback": "Traceback …"
    }  # fmt: skip
    assert json.loads(entry["MessageBody"])["id"] == str(receipt.id)


def test_a_failure_without_a_dead_letter_queue_is_told(
    server: SQSServer, backend: SQSBackend, mail: str, caplog: pytest.LogCaptureFixture
) -> None:
    [receipt] = backend.enqueue([message()])
    assert settle(backend, claim(backend), Failed(FAILURE)) == {receipt.id}
    assert server.counts(mail) == NOBODY
    assert "has no dead-letter queue" in caplog.text


def test_a_failure_stays_until_the_dead_letters_have_it(
    server: SQSServer, backend: SQSBackend, mail: str, dead: str
) -> None:
    [receipt] = backend.enqueue([message()])
    claims = claim(backend)
    server.refuse("SendMessageBatch", "ServiceUnavailable", 503)
    with pytest.raises(StoreUnavailableError):
        settle(backend, claims, Failed(FAILURE))
    assert (server.counts(mail), server.counts(dead)) == ((0, 0, 1), NOBODY)
    assert settle(backend, claims, Failed(FAILURE)) == {receipt.id}
    assert (server.counts(mail), server.counts(dead)) == (NOBODY, (1, 0, 0))


def test_a_canceled_task_is_gone(
    server: SQSServer, backend: SQSBackend, mail: str, dead: str
) -> None:
    [receipt] = backend.enqueue([message()])
    canceled = Canceled(Failure("TaskCanceled", "canceled while it ran", reason="canceled"))
    assert settle(backend, claim(backend), canceled) == {receipt.id}
    assert (server.counts(mail), server.counts(dead)) == (NOBODY, NOBODY)


# FIFO


@pytest.fixture
def orders(server: SQSServer) -> str:
    name = f"{server.prefix}orders.fifo"
    server.create_queue(name)
    return name


def test_a_fifo_queue_keeps_its_order_in_one_group(
    server: SQSServer, backend: SQSBackend, orders: str
) -> None:
    sent = [message("orders.fifo") for _ in range(25)]
    backend.enqueue(sent)
    worker = worker_of(backend, "orders.fifo")
    claimed = []
    while claims := backend.claim(["orders.fifo"], 4, worker, thorough=True):
        claimed += [one.id for one in claims]
        settle(backend, claims, Succeeded())
    assert claimed == [one.id for one in sent]
    entries = [
        entry
        for call in server.calls
        if call.action == "SendMessageBatch"
        for entry in call.request["Entries"]
    ]
    assert {entry["MessageGroupId"] for entry in entries} == {"orders.fifo"}
    assert [entry["MessageDeduplicationId"] for entry in entries] == [str(one.id) for one in sent]


def test_a_fifo_queue_stores_a_task_once_and_retries_it(
    server: SQSServer, backend: SQSBackend, orders: str
) -> None:
    sent = message("orders.fifo")
    backend.enqueue([sent])
    backend.enqueue([sent])  # as after an answer that was lost
    [first] = claim(backend, queue="orders.fifo")
    settle(backend, [first], Retry(60.0, FAILURE, "again"))
    assert claim(backend, queue="orders.fifo") == []
    server.advance(61)
    [second] = claim(backend, queue="orders.fifo")
    assert (second.id, second.attempts, second.payload) == (sent.id, 2, "again")
    settle(backend, [second], Succeeded())
    assert server.counts(orders) == NOBODY


def test_a_fifo_queue_delays_no_task(server: SQSServer, backend: SQSBackend, orders: str) -> None:
    with pytest.raises(Unsupported, match=r"orders.fifo. A standard queue can"):
        backend.enqueue([message("orders.fifo", due=Moment(5.0))])
    assert server.count("SendMessageBatch") == 0


# Queues and sizes


def test_a_queue_is_looked_up_once_and_its_limit_counts(
    server: SQSServer, backend: SQSBackend
) -> None:
    server.create_queue(f"{server.prefix}small", MaximumMessageSize="2048")
    for _ in range(3):
        backend.enqueue([message("small", "x" * 1000)])
    with pytest.raises(PayloadError, match=r"takes \d+ bytes as a message, the limit of the queue"):
        backend.enqueue([message("small"), message("small", "x" * 2000)])
    assert backend.len("small") == 3
    described = [
        call for call in server.calls
        if call.action == "GetQueueAttributes"
        and "MaximumMessageSize" in call.request["AttributeNames"]
    ]  # fmt: skip
    assert len(described) == 1


def test_a_payload_that_grew_too_large_is_refused_when_it_goes_back(
    server: SQSServer, backend: SQSBackend
) -> None:
    server.create_queue(f"{server.prefix}small", MaximumMessageSize="2048")
    backend.enqueue([message("small", "x")])
    claims = claim(backend, queue="small")
    with pytest.raises(PayloadError, match="may have 2048"):
        settle(backend, claims, Retry(0.0, FAILURE, "x" * 2048))
    assert settle(backend, claims, Failed(FAILURE)) == {claims[0].id}


def test_bodies_are_ascii(server: SQSServer, backend: SQSBackend) -> None:
    backend.enqueue([message(payload="\x00 \ud800 очередь 🐊")])
    [call] = [call for call in server.calls if call.action == "SendMessageBatch"]
    assert call.request["Entries"][0]["MessageBody"].isascii()
    assert claim(backend)[0].payload == "\x00 \ud800 очередь 🐊"


def test_a_missing_queue_names_the_command_that_creates_it(
    server: SQSServer, dsn: str, backend: SQSBackend, mail: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        backend.enqueue([message(), message("images")])
    assert server.count("SendMessageBatch") == 0
    text = str(caught.value)
    assert text.startswith(f"There is no queue {server.prefix}images in SQS")
    _, _, command = text.partition("Create it: ")
    assert in_sqs.check(dsn, ["images"]) == {f"{server.prefix}images": "missing"}
    done = subprocess.run(
        [*MODULE, *shlex.split(command)[1:]], env=environment(), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == f"queue {server.prefix}images: created\n"
    backend.enqueue([message("images")])
    assert backend.len("images") == 1


def test_the_command_gives_queues_dead_letters_on_request(
    server: SQSServer, dsn: str, mail: str
) -> None:
    send_raw(server, mail, "something")
    queues = "mail,orders.fifo"
    done = run("schema", "upgrade", dsn, "--queues", queues, "--dead-letter", "--max-receives=5")
    orders, dead_orders = (f"{server.prefix}{name}.fifo" for name in ("orders", "orders-dead"))
    assert done.stdout.splitlines() == [
        f"queue {mail}: exists, dead letters go to {mail}-dead",
        f"queue {orders}: created, dead letters go to {dead_orders}",
    ]
    again = in_sqs.create(dsn, queues.split(","), 5)
    assert again[1] == f"queue {orders}: exists, dead letters go to {dead_orders}"
    assert server.counts(mail)[0] == 1
    with closing(client_of(server)) as client:
        url = client.get_queue_url(QueueName=mail)["QueueUrl"]
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    assert json.loads(answer["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 5
    assert in_sqs.check(dsn, queues.split(",")) == {
        mail: f"exists, dead letters go to {mail}-dead",
        orders: f"exists, dead letters go to {dead_orders}",
    }


# Bad input


def test_bodies_that_are_no_tasks_are_left_for_the_dead_letters(
    server: SQSServer,
    backend: SQSBackend,
    mail: str,
    dead: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign = ["no JSON", "[1]", '{"v": 1}', '{"v": 99, "id": "x"}', "[" * 50_000]
    send_raw(server, mail, *foreign)
    [receipt] = backend.enqueue([message()])
    for _ in range(3):
        for one in claim(backend, 20):
            assert one.id == receipt.id
            settle(backend, [one], Succeeded())
        server.advance(TTL + 1)
    assert claim(backend) == []
    assert server.counts(dead) == (len(foreign), 0, 0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(foreign)
    assert all("is no task and stays there" in line for line in said)


@pytest.mark.parametrize(
    ("conn_string", "wrong"),
    [
        ("sqs://", "cannot be read"),
        ("sqs://us-west-2/path", "cannot be read"),
        ("sqs://key:s3cret@us-west-2/", "takes no credentials"),
        ("sqs://us-west-2/?colour=red", "no parameter 'colour'"),
        ("sqs://us-west-2/?prefix=a&prefix=b", "given 2 times"),
        ("sqs://us-west-2/?prefix=a.b", "prefix='a.b'"),
        ("sqs://us-west-2/?endpoint=localhost", "endpoint= takes a URL"),
    ],
)
def test_a_connection_string_is_checked_early(conn_string: str, wrong: str) -> None:
    with pytest.raises(InvalidOptionError, match=wrong) as caught:
        Gator(conn_string)
    assert "s3cret" not in str(caught.value)


def test_a_queue_name_that_sqs_does_not_have_is_told(backend: SQSBackend) -> None:
    with pytest.raises(InvalidOptionError, match="1 to 80 letters"):
        backend.enqueue([message("очередь")])


def test_a_host_that_is_not_there_is_told(server: SQSServer) -> None:
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1, region us-west-2"):
        Gator("sqs://us-west-2/?endpoint=http://127.0.0.1:1").task(add, 1, 2)


def test_no_credentials_and_wrong_ones_are_told(
    server: SQSServer, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuse("GetQueueUrl", "InvalidClientTokenId", 403)
    with pytest.raises(StoreUnavailableError, match="the credentials of boto3"):
        Gator(dsn).task(add, 1, 2)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreUnavailableError, match="finds no usable credentials"):
        Gator(dsn).task(add, 1, 2)


@pytest.mark.parametrize(
    ("dsn", "package", "extra"),
    [("sqs://us-west-2/", "boto3", "sqs"), ("redis://localhost/0", "redis", "redis")],
)
def test_a_missing_library_is_named_with_the_way_to_install_it(
    dsn: str, package: str, extra: str
) -> None:
    program = WITHOUT.format(package=package, dsn=dsn)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        f"alligator_sql.exceptions.UnknownBackendError: {extra}:// needs the package {package}: "
        f"pip install 'alligator-sql[{extra}]'"
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda gator: gator.find("x"),
        lambda gator: gator.get("x"),
        lambda gator: gator.cancel("x"),
        lambda gator: gator.retry("x"),
        lambda gator: gator.pause(),
        lambda gator: gator.using(object()),
        lambda gator: gator.options(priority=1).task(add, 1, 2),
        lambda gator: gator.options(unique_key="k").task(add, 1, 2),
        lambda gator: gator.options(keep_result=True).task(add, 1, 2),
        lambda gator: gator.options(tags=["t"]).task(add, 1, 2),
        lambda gator: Worker(gator, keep_failed=3600),
    ],
)
def test_what_sqs_cannot_do_is_refused(
    server: SQSServer, gator: Gator, use: Callable[[Gator], Any]
) -> None:
    with pytest.raises(Unsupported, match="The SQS backend cannot"):
        use(gator)
    assert server.count("SendMessageBatch") == 0


# As users use it


def test_hooks_and_retries_work(gator: Gator) -> None:
    with gator.options(retries=3, backoff=0) as options:
        options.task(fail_at_first, 2)
    worker = Worker(gator, burst=True)
    worker.run_forever()
    assert worker.tasks_complete == 3
    assert gator.len() == 0


def test_the_next_task_can_be_popped_though_a_worker_has_polled(
    gator: Gator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "LONG_POLL", 1)
    worker = Worker(gator, max_tasks=1)
    running = Background(worker.run_forever)
    gator.task(add, 1, 2)
    running.result()
    gator.task(add, 3, 4)
    assert gator.pop() == 7
    assert gator.pop() is None


def test_a_forked_child_uses_connections_of_its_own(gator: Gator) -> None:
    gator.task(add, 1, 2)
    child = os.fork()
    if child == 0:
        try:
            gator.task(add, 3, 4)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    gator.task(add, 5, 6)
    assert gator.len() == 3


def test_nothing_is_lost_when_sqs_behaves_at_its_worst(
    server: SQSServer, gator: Gator, mail: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Duplicates, delays, refused entries and throttling, by a seeded plan."""
    caplog.set_level(logging.CRITICAL)
    dice = random.Random(7)

    def mistreat(request: dict[str, Any], handle: Handle) -> Answer:
        match dice.randrange(8):
            case 0:
                return 400, {"__type": "RequestThrottled", "message": "as told"}
            case 1:  # the answer is lost: who asked does it once more
                handle(request)
                return 503, {"__type": "ServiceUnavailable", "message": "as told"}
            case 2:
                threading.Event().wait(0.05)
            case 3 if "Entries" in request:
                index = dice.randrange(len(request["Entries"]))
                return server.without_entry(request, handle, index, sender_fault=False)
            case 4 if "Entries" not in request:
                server.show_all(mail)
        return handle(request)

    done = tmp_path / "done"
    numbers = [str(number) for number in range(60)]
    for action in ("ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch"):
        server.fault(action, mistreat, times=60)
    for number in numbers:
        with_patience(partial(gator.task, tasks.append, str(done), number))
    # What SQS gave out with an answer that got lost comes back when its time is over.
    worker = Worker(gator, concurrency=4, lease=2.0)
    running = Background(worker.run_forever)
    wait_until(lambda: set(numbers) <= set(done.read_text().split() if done.exists() else ()))
    wait_until(lambda: server.counts(mail) == NOBODY)
    worker.stop()
    running.result()


def test_a_worker_that_loses_its_lease_runs_its_tasks_again(
    server: SQSServer, gator: Gator, mail: str, tmp_path: Path
) -> None:
    started, until = tmp_path / "started", tmp_path / "until"
    gator.task(tasks.wait_for_file, str(started), str(until))
    worker = Worker(gator, concurrency=2, lease=1.0)
    running = Background(worker.run_forever)
    wait_until(started.exists)
    server.refuse("ChangeMessageVisibilityBatch", "ServiceUnavailable", 503, times=8)
    wait_until(lambda: len(started.read_text().split()) >= 2)
    until.touch()
    wait_until(lambda: server.counts(mail) == NOBODY)
    worker.stop()
    running.result()


def with_patience(act: Callable[[], object]) -> None:
    """Do it again until SQS takes it, as a caller does."""

    def done() -> bool:
        try:
            act()
        except StoreUnavailableError:
            return False
        return True

    wait_until(done)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(
    server: SQSServer, gator: Gator, mail: str, tmp_path: Path
) -> None:
    started, until, done = (str(tmp_path / name) for name in ("started", "until", "done"))
    numbers = [str(number) for number in range(15)]
    for number in numbers:
        gator.task(tasks.wait_for_file, started, until, number)
        gator.task(tasks.append, done, number)
    command = [*MODULE, "worker", "--queues", "mail", "--concurrency", "8", "--lease", "2"]
    variables = environment(ALLIGATOR_CONN=gator.conn_string, PYTHONPATH=str(PROJECT))

    def lines(path: str) -> set[str]:
        return set(Path(path).read_text().split()) if Path(path).exists() else set()

    def wait_with(worker: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
        def is_so() -> bool:
            assert worker.poll() is None, worker.communicate()[1]
            return condition()

        wait_until(is_so)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)

    with start() as first:
        try:
            wait_with(first, lambda: len(lines(started)) >= 8)  # all of its threads are busy
        finally:
            first.kill()
    Path(until).touch()
    with start() as second:
        try:
            wait_with(second, lambda: lines(started) == lines(done) == set(numbers))
            wait_with(second, lambda: server.counts(mail) == NOBODY)
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE) == 0
        finally:
            second.kill()
