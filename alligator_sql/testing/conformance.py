"""The behaviour that every backend has, as a pytest class that anybody may subclass.

Ex::

    from alligator_sql.testing.conformance import BackendConformance

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self):
            backend = MyBackend("mine://")
            yield backend
            backend.close()

        def advance(self, backend, seconds):
            backend.clock.advance(seconds)

``Capabilities`` decide what is asked: what a backend declares has to work, and what it does
not declare has to be refused with ``Unsupported``.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import wraps
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from ..backends import Backend
from ..constants import CANCELED, DELAYED, FAILED, RETRYING, RUNNING, SUCCESS, WAITING
from ..exceptions import UnknownTaskError, Unsupported
from ..ids import id_of, new_id, new_ids
from ..messages import (
    Claim,
    Failure,
    Message,
    Moment,
    Payload,
    Progress,
    Series,
    TaskRecord,
    WorkerRecord,
)
from ..outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)

TTL = 30.0
PATIENCE = 60.0
"""Seconds to wait for what must happen: much more than it ever takes."""
FAILURE = Failure("ValueError", "no such follower", "Traceback …\nValueError: no such follower")
CANCELED_FAILURE = Failure("TaskCanceled", "canceled while it ran", "Traceback …", "canceled")
PUT_BACK = (Retry(0.0, FAILURE, "again"), Snoozed(0.0, ValueError()), Released())
"""Outcomes after which a task waits again."""


def needs(*capabilities: str) -> Callable[[Any], Any]:
    """Ask a test only of backends that declare ``capabilities``."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def guarded(self: Any, backend: Backend, *args: Any, **kwargs: Any) -> None:
            missing = [name for name in capabilities if not getattr(backend.capabilities, name)]
            if missing:
                pytest.skip(f"the {backend.name} backend does not declare {', '.join(missing)}")
            test(self, backend, *args, **kwargs)

        return guarded

    return decorate


def message(
    queue: str = "mail", payload: Payload = '{"func":"tests:f"}', **changes: Any
) -> Message:
    """Return a message with a new id, or the given ``task_id``."""
    task_id = changes.pop("task_id", None) or str(new_id())
    return Message(
        id=id_of(task_id),
        task_id=task_id,
        queue=queue,
        func="tests.tasks:send",
        payload=payload,
        **changes,
    )


def completed(claim: Claim | None = None, **changes: Any) -> Settlement:
    """Return the success of ``claim``, or of any, as ``current_task().complete()`` makes it."""
    claim = claim or Claim(new_id(), "mail", "tests.tasks:send", "", 1, uuid4(), 1, 0, 0.0)
    return Settlement(claim, Succeeded(completed=True, **changes), 0.0)


class BackendConformance:
    """Subclass it, provide the fixture ``backend`` and the method ``advance``.

    Attributes:
        queue_names: Odd names that queues may have, for a store that takes fewer to override.
    """

    queue_names: ClassVar[Sequence[str]] = (
        "a" * 128, "it's", '"quoted"', "50%", "%s", "a:b", "{x}", "очередь", " ", "A",
    )  # fmt: skip

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """Provide an empty backend."""
        raise AssertionError("Override the fixture 'backend'.")

    def advance(self, backend: Backend, seconds: float) -> None:
        """Let ``seconds`` pass for ``backend``."""
        raise AssertionError("Override the method 'advance'.")

    def connect(self, backend: Backend) -> Any:
        """Return a connection to the store of ``backend`` that it can join.

        Asked for only by the capability ``transactional``. It has ``commit``, ``rollback`` and
        ``close``.
        """
        raise AssertionError("Override the method 'connect'.")

    # Helpers

    def worker(self, backend: Backend, *queues: str, ttl: float = TTL) -> UUID:
        """Begin the lease of a new worker and return its id."""
        record = WorkerRecord(uuid4(), "host", os.getpid(), queues or ("mail",), ttl)
        assert backend.heartbeat(record, first=True)
        return record.id

    def claim_all(
        self, backend: Backend, *queues: str, limit: int = 100, begins: bool = False
    ) -> list[Claim]:
        """Claim with a new worker until nothing more comes."""
        names = queues or ("mail",)
        worker = self.worker(backend, *names)
        claims: list[Claim] = []
        while more := backend.claim(
            names, limit - len(claims), worker, thorough=True, begins=begins
        ):
            claims += more
            if len(claims) == limit:
                break
        return claims

    def rescued(self, backend: Backend, max_crashes: int = 3) -> list[UUID]:
        """Let all workers die and return what is taken back."""
        self.advance(backend, TTL + 1)
        return backend.rescue(max_crashes)

    def record(self, backend: Backend, task_id: object) -> TaskRecord:
        """Return what is known of a task."""
        record = backend.find(str(task_id))
        assert record is not None
        return record

    def settle(self, backend: Backend, claim: Claim, outcome: Outcome) -> bool:
        """Acknowledge one claim and return whether its fence held."""
        return backend.ack([Settlement(claim, outcome)]) == {claim.id}

    # Enqueueing and claiming

    def test_a_message_comes_back_as_a_claim(self, backend: Backend) -> None:
        sent = message(payload='{"args":[1]}')
        (receipt,) = backend.enqueue([sent])
        assert (receipt.id, receipt.duplicate) == (sent.id, False)
        worker = self.worker(backend)
        (claim,) = backend.claim(["mail"], 10, worker, thorough=True)
        assert (claim.id, claim.queue, claim.payload) == (sent.id, "mail", '{"args":[1]}')
        assert (claim.worker, claim.attempts, claim.crashes) == (worker, 1, 0)
        assert 0 <= claim.age < 60

    @pytest.mark.parametrize(
        "payload",
        [
            b"\x1f\x8b\x00\xff compressed",
            "=bytes:not really",
            "NUL \x00 and a lone surrogate \ud800",
            "emoji 🐊, עברית, quotes ' \" %s %(x)s :name {} \\",
            "",
        ],
    )
    def test_a_payload_is_opaque(self, backend: Backend, payload: Payload) -> None:
        backend.enqueue([message(payload=payload)])
        (claim,) = self.claim_all(backend)
        assert claim.payload == payload
        assert type(claim.payload) is type(payload)

    def test_any_queue_name_works(self, backend: Backend) -> None:
        for queue in self.queue_names:
            backend.enqueue([message(queue), message("a")])
            assert backend.len(queue) == 1
            (claim,) = self.claim_all(backend, queue)
            assert claim.queue == queue

    @needs("order")
    def test_tasks_come_in_the_order_in_which_they_were_sent(self, backend: Backend) -> None:
        sent = [message() for _ in range(20)]
        backend.enqueue(sent[:10])
        for one in sent[10:]:
            backend.enqueue([one])
        assert [claim.id for claim in self.claim_all(backend)] == [one.id for one in sent]

    def test_a_series_is_stored_as_its_messages_are(self, backend: Backend) -> None:
        number = backend.batch + 1
        payloads = [f'{{"number":{each}}}' for each in range(number)]
        assert backend.enqueue_series(Series(message(), new_ids(number), payloads)) == number
        assert backend.len("mail") == number
        few = Series(message("a"), new_ids(3), payloads[:3])
        assert backend.enqueue_series(few) == 3
        claims = self.claim_all(backend, "a")
        assert sorted((claim.id, claim.payload) for claim in claims) == [
            (one.id, one.payload) for one in few.messages()
        ]

    def test_a_limit_is_kept_and_the_rest_waits(self, backend: Backend) -> None:
        backend.enqueue([message() for _ in range(5)])
        worker = self.worker(backend)
        assert len(backend.claim(["mail"], 3, worker, thorough=True)) == 3
        assert backend.len("mail") == 2
        assert len(backend.claim(["mail"], 3, worker, thorough=True)) == 2
        assert backend.claim(["mail"], 3, worker, thorough=True) == []

    def test_queues_are_apart_and_served_in_their_order(self, backend: Backend) -> None:
        first, second, other = message("a"), message("b"), message("c")
        backend.enqueue([second])
        backend.enqueue([first])
        backend.enqueue([other])
        assert [claim.id for claim in self.claim_all(backend, "a", "b")] == [first.id, second.id]
        assert backend.len("c") == 1

    def test_len_counts_what_waits(self, backend: Backend) -> None:
        assert backend.len("mail") == 0
        backend.enqueue([message(), message()])
        self.claim_all(backend, limit=1)
        assert backend.len("mail") == 1

    def test_drop_all_removes_what_waits_in_one_queue(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        backend.enqueue([message("other")])
        (running,) = self.claim_all(backend, limit=1)
        backend.drop_all("mail")
        assert (backend.len("mail"), backend.len("other")) == (0, 1)
        assert self.settle(backend, running, Succeeded())

    def test_every_task_is_claimed_once_by_many_claimers(self, backend: Backend) -> None:
        sent = [message() for _ in range(200)]
        backend.enqueue(sent)
        workers = [self.worker(backend) for _ in range(4)]
        barrier = threading.Barrier(4)

        def consume(worker: UUID) -> list[UUID]:
            claimed: list[UUID] = []
            barrier.wait(PATIENCE)
            while claims := backend.claim(["mail"], 7, worker):
                claimed += [claim.id for claim in claims]
            return claimed

        with ThreadPoolExecutor(4) as threads:
            claimed = [task for tasks in threads.map(consume, workers) for task in tasks]
        missed = [claim.id for claim in self.claim_all(backend, limit=200)]
        assert sorted(claimed + missed) == sorted(one.id for one in sent)

    def test_a_thorough_claim_takes_what_is_due(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        worker = self.worker(backend)
        for _ in range(2):
            assert len(backend.claim(["mail"], 1, worker, thorough=True)) == 1
        assert backend.claim(["mail"], 1, worker, thorough=True) == []

    @needs("find")
    def test_drop_all_leaves_no_trace(self, backend: Backend) -> None:
        for number in range(2):
            backend.enqueue([message(task_id="reused")])
            (claim,) = self.claim_all(backend)
            kind = f"Error{number}"
            assert self.settle(backend, claim, Retry(0.0, Failure(kind, "no"), "again"))
            record = backend.find("reused")
            assert record is not None
            assert record.error == f"{kind}: no"
            backend.drop_all("mail")
            assert backend.find("reused") is None

    @needs("find")
    def test_a_batch_stores_an_id_once_and_says_so(self, backend: Backend) -> None:
        sent = [message(task_id="twice"), message(), message(task_id="twice")]
        receipts = backend.enqueue(sent)
        assert [receipt.duplicate for receipt in receipts] == [False, False, True]
        assert backend.len("mail") == 2

    @needs("find")
    def test_a_known_id_is_not_stored_again(self, backend: Backend) -> None:
        sent = message(task_id="invoice-42", payload="first")
        backend.enqueue([sent])
        again = message(task_id="invoice-42", payload="second")
        assert backend.enqueue([again])[0].duplicate
        (claim,) = self.claim_all(backend)
        assert claim.payload == "first"
        self.settle(backend, claim, Succeeded())
        receipt = backend.enqueue([again])[0]
        assert (receipt.id, receipt.duplicate, receipt.payload) == (sent.id, True, "first")
        assert backend.len("mail") == 0

    # Outcomes

    def test_success_ends_a_task(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Succeeded())
        assert backend.len("mail") == 0
        assert self.claim_all(backend) == []

    @needs("lease", "fence")
    def test_an_outcome_counts_once(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Succeeded())
        assert not self.settle(backend, claim, Failed(FAILURE))
        if backend.capabilities.find:
            record = backend.find(str(claim.id))
            assert record is not None
            assert record.status == SUCCESS

    @needs("lease", "fence")
    def test_a_late_outcome_of_an_older_claim_changes_nothing(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (old,) = self.claim_all(backend)
        assert self.settle(backend, old, Released())
        (new,) = self.claim_all(backend)
        assert new.lease > old.lease
        for outcome in (Succeeded(), Failed(FAILURE), Retry(0, FAILURE, "changed"), Released()):
            assert not self.settle(backend, old, outcome)
        assert self.settle(backend, new, Succeeded())

    def test_a_batch_of_outcomes_is_applied_together(self, backend: Backend) -> None:
        backend.enqueue([message() for _ in range(4)])
        one, two, three, four = self.claim_all(backend)
        applied = backend.ack(
            [
                Settlement(one, Succeeded()),
                Settlement(two, Failed(FAILURE)),
                Settlement(three, Retry(0.0, FAILURE, "again")),
                Settlement(four, Released()),
            ]
        )
        assert applied == {one.id, two.id, three.id, four.id}
        assert {claim.id for claim in self.claim_all(backend)} == {three.id, four.id}

    def test_outcomes_travel_with_a_claim(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        worker = self.worker(backend)
        (first,) = backend.claim(["mail"], 1, worker, thorough=True)
        (second,) = backend.claim(
            ["mail"], 1, worker, [Settlement(first, Succeeded())], thorough=True
        )
        assert second.id != first.id
        assert self.claim_all(backend) == []

    @needs("find")
    def test_failure_ends_a_task_and_keeps_the_reason(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Failed(FAILURE))
        record = backend.find(str(claim.id))
        assert record is not None
        assert (record.status, record.attempts) == (FAILED, 1)
        assert record.error == "ValueError: no such follower"
        assert record.finished_at is not None

    @needs("find")
    def test_a_failure_before_the_start_costs_no_attempt(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        expired = Failure("Expired", "too late", reason="expired")
        assert self.settle(backend, claim, Failed(expired, started=False))
        record = backend.find(str(claim.id))
        assert record is not None
        assert (record.status, record.attempts, record.reason) == (FAILED, 0, "expired")

    def test_a_cancellation_ends_a_task(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Canceled(CANCELED_FAILURE))
        assert backend.len("mail") == 0
        assert self.claim_all(backend) == []
        if backend.capabilities.find:
            record = self.record(backend, claim.id)
            assert (record.status, record.attempts, record.reason) == (CANCELED, 1, "canceled")
            assert record.error == "TaskCanceled: canceled while it ran"
            assert record.finished_at is not None

    @needs("results")
    def test_a_cancellation_ends_the_wait_with_its_traceback(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="unwanted")])
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Canceled(CANCELED_FAILURE))
        ending = backend.ending("unwanted", 0.0)
        assert ending is not None
        assert ending.status == CANCELED
        assert ending.failure == CANCELED_FAILURE

    @needs("delay")
    def test_a_retry_comes_back_after_its_delay_with_its_new_payload(
        self, backend: Backend
    ) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Retry(60.0, FAILURE, "second"))
        assert backend.len("mail") == 1
        assert self.claim_all(backend) == []
        self.advance(backend, 61)
        (again,) = self.claim_all(backend)
        assert (again.payload, again.attempts) == ("second", 2)

    @needs("find", "delay")
    def test_a_retrying_task_says_so(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Retry(60.0, FAILURE, "second"))
        record = backend.find(str(claim.id))
        assert record is not None
        assert (record.status, record.worker_id) == (RETRYING, None)
        assert record.error == "ValueError: no such follower"

    @needs("delay", "fence")
    def test_snoozing_costs_no_attempt(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Snoozed(60.0, ValueError()))
        assert self.claim_all(backend) == []
        self.advance(backend, 61)
        (again,) = self.claim_all(backend)
        assert again.attempts == 1
        assert again.lease > claim.lease

    @needs("lease", "fence")
    def test_releasing_costs_no_attempt_and_no_time(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Released())
        (again,) = self.claim_all(backend)
        assert (again.id, again.attempts) == (claim.id, 1)
        assert again.lease > claim.lease

    # Due times, priorities, expiry

    @needs("delay")
    def test_a_delayed_task_is_not_claimed_before_its_time(self, backend: Backend) -> None:
        backend.enqueue([message(due=Moment(300.0))])
        assert backend.len("mail") == 1
        assert self.claim_all(backend) == []
        if backend.capabilities.find:  # else the store does not show what waits
            due = backend.due_in(["mail"])
            assert due is not None
            assert 290 < due <= 300
        self.advance(backend, 301)
        assert len(self.claim_all(backend)) == 1

    @needs("delay", "find")
    def test_a_due_time_may_be_a_timestamp(self, backend: Backend) -> None:
        past, future = message(due=Moment(1.0, True)), message(due=Moment(4e9, True))
        backend.enqueue([past, future])
        assert [claim.id for claim in self.claim_all(backend)] == [past.id]
        record = backend.find(str(future.id))
        assert record is not None
        assert record.run_at.timestamp() == 4e9
        assert record.status == DELAYED

    @needs("delay")
    def test_due_in_knows_nothing_of_what_is_due_or_elsewhere(self, backend: Backend) -> None:
        backend.enqueue([message()])
        backend.enqueue([message("other", due=Moment(5.0))])
        assert backend.due_in(["mail"]) is None

    @needs("priority")
    def test_the_higher_priority_comes_first(self, backend: Backend) -> None:
        sent = {p: message(priority=p) for p in (0, -32768, 5, 32767)}
        for one in sent.values():
            backend.enqueue([one])
        worker = self.worker(backend)
        order = [backend.claim(["mail"], 1, worker, thorough=True)[0].id for _ in sent]
        assert order == [sent[p].id for p in (32767, 5, 0, -32768)]

    @needs("priority")
    def test_one_claim_takes_several_priorities_in_order(self, backend: Backend) -> None:
        sent = [message(priority=p) for p in (0, 1, 0, 2, 1)]
        backend.enqueue(sent)
        wanted = [sent[3].id, sent[1].id, sent[4].id, sent[0].id, sent[2].id]
        assert [claim.id for claim in self.claim_all(backend)] == wanted

    @needs("priority", "delay")
    def test_an_urgent_task_of_the_future_holds_nothing_up(self, backend: Backend) -> None:
        backend.enqueue([message(priority=9, due=Moment(300.0)) for _ in range(50)])
        now = message()
        backend.enqueue([now])
        assert [claim.id for claim in self.claim_all(backend)] == [now.id]

    @needs("expires")
    def test_an_expired_task_is_told_by_its_claim(self, backend: Backend) -> None:
        backend.enqueue([message(expires=Moment(60.0)), message(expires=Moment(600.0))])
        self.advance(backend, 61)
        late, good = self.claim_all(backend)
        assert late.expires_in is not None
        assert late.expires_in <= 0
        assert good.expires_in is not None
        assert good.expires_in > 0

    # Unique keys

    @needs("unique_key")
    def test_a_unique_key_holds_while_its_task_lives(self, backend: Backend) -> None:
        first = message(unique_key="user-1", payload="first")
        backend.enqueue([first])
        receipt = backend.enqueue([message(unique_key="user-1")])[0]
        assert (receipt.id, receipt.duplicate, receipt.payload) == (first.id, True, "first")
        (claim,) = self.claim_all(backend)
        assert backend.enqueue([message(unique_key="user-1")])[0].duplicate
        self.settle(backend, claim, Retry(0.0, FAILURE, "first"))
        assert backend.enqueue([message(unique_key="user-1")])[0].duplicate
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Succeeded())
        assert not backend.enqueue([message(unique_key="user-1")])[0].duplicate

    @needs("unique_key")
    def test_a_unique_key_is_of_one_queue(self, backend: Backend) -> None:
        backend.enqueue([message("a", unique_key="k")])
        assert not backend.enqueue([message("b", unique_key="k")])[0].duplicate

    @needs("unique_key")
    def test_a_batch_stores_a_unique_key_once(self, backend: Backend) -> None:
        receipts = backend.enqueue([message(unique_key="k") for _ in range(3)])
        assert [receipt.duplicate for receipt in receipts].count(False) == 1
        assert backend.len("mail") == 1

    @needs("unique_key")
    def test_many_producers_store_a_unique_key_once(self, backend: Backend) -> None:
        backend.open()
        barrier = threading.Barrier(8)

        def produce(_: int) -> tuple[UUID, bool]:
            barrier.wait(PATIENCE)
            receipt = backend.enqueue([message(unique_key="k")])[0]
            return receipt.id, receipt.duplicate

        with ThreadPoolExecutor(8) as threads:
            receipts = list(threads.map(produce, range(8)))
        assert len({task for task, _ in receipts}) == 1
        assert [duplicate for _, duplicate in receipts].count(False) == 1
        assert backend.len("mail") == 1

    # One task

    @needs("claim_by_id")
    def test_one_task_is_claimed_by_its_id_even_before_its_time(self, backend: Backend) -> None:
        able = backend.capabilities.delay
        wanted = message(task_id="this one", due=Moment(300.0 if able else 0.0))
        backend.enqueue([message(), wanted])
        worker = self.worker(backend)
        claim = backend.claim_one("mail", "this one", worker)
        assert claim is not None
        assert claim.id == wanted.id
        assert backend.claim_one("mail", "this one", worker) is None
        assert backend.claim_one("mail", "unknown", worker) is None
        self.settle(backend, claim, Succeeded())
        assert backend.len("mail") == 1

    @needs("cancel")
    def test_a_waiting_task_can_be_canceled(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="mistake", payload="oops")])
        assert backend.cancel("mail", "mistake") == "oops"
        assert backend.cancel("mail", "mistake") is None
        assert self.claim_all(backend) == []
        if backend.capabilities.find:
            record = backend.find("mistake")
            assert record is not None
            assert (record.status, record.attempts) == (CANCELED, 0)

    @needs("cancel", "lease")
    def test_a_running_task_is_not_ended_by_others(self, backend: Backend) -> None:
        backend.enqueue([message(payload="oops")])
        (claim,) = self.claim_all(backend)
        told = backend.cancel("mail", str(claim.id))
        assert told == ("oops" if backend.capabilities.interrupt else None)
        assert self.settle(backend, claim, Succeeded())

    @needs("find")
    def test_find_tells_the_whole_life(self, backend: Backend) -> None:
        assert backend.find("unknown") is None
        sent = message(task_id="found", priority=3, tags=("a", "b"), unique_key="k")
        backend.enqueue([sent])
        waiting = backend.find("found")
        assert waiting is not None
        assert (waiting.id, waiting.queue, waiting.func) == (sent.id, "mail", "tests.tasks:send")
        assert (waiting.status, waiting.status_name) == (WAITING, "waiting")
        assert (waiting.priority, waiting.tags, waiting.unique_key) == (3, ("a", "b"), "k")
        assert waiting.created_at.utcoffset() is not None
        worker = self.worker(backend)
        (claim,) = backend.claim(["mail"], 1, worker, thorough=True, begins=True)
        running = backend.find("found")
        assert running is not None
        assert (running.status, running.worker_id, running.attempts) == (RUNNING, worker, 1)
        assert running.started_at is not None
        self.settle(backend, claim, Succeeded())
        ended = backend.find("found")
        assert ended is not None
        assert (ended.status, ended.tags, ended.error) == (SUCCESS, ("a", "b"), None)
        assert ended.finished_at is not None
        assert ended.finished_at >= running.started_at

    @pytest.mark.parametrize(
        ("capability", "call"),
        [
            ("claim_by_id", lambda backend: backend.claim_one("mail", "x", uuid4())),
            ("cancel", lambda backend: backend.cancel("mail", "x")),
            ("find", lambda backend: backend.find("x")),
            ("retry", lambda backend: backend.retry("mail", "x")),
            ("pause", lambda backend: backend.pause("mail")),
            ("pause", lambda backend: backend.resume("mail")),
            ("pause", lambda backend: backend.is_paused("mail")),
            ("results", lambda backend: backend.ending("x", 0.0)),
            ("lease", lambda backend: backend.rescue(3)),
            ("lease", lambda backend: backend.reconcile(uuid4(), set())),
            ("fence", lambda backend: backend.begin([])),
            ("interrupt", lambda backend: backend.canceled(uuid4(), {uuid4()})),
            ("progress", lambda backend: backend.report(uuid4(), {uuid4(): Progress(1.0)})),
            ("retention", lambda backend: backend.prune(1.0, 1.0)),
            ("wake", lambda backend: backend.listen(["mail"], 0.0)),
            ("transactional", lambda backend: backend.is_async(object())),
            ("transactional", lambda backend: backend.complete(completed(), object())),
            (
                "transactional",
                lambda backend: asyncio.run(backend.acomplete(completed(), object())),
            ),
        ],
    )
    def test_what_is_not_declared_is_refused(
        self, backend: Backend, capability: str, call: Callable[[Backend], object]
    ) -> None:
        if not getattr(backend.capabilities, capability):
            with pytest.raises(Unsupported, match=backend.name):
                call(backend)

    def test_joining_is_refused_where_it_is_impossible(self, backend: Backend) -> None:
        with pytest.raises(Unsupported):
            backend.enqueue([message()], connection=object())
        assert backend.len("mail") == 0

    # Results

    @needs("results")
    def test_a_kept_result_is_there(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="sum")])
        assert backend.ending("sum", 0.0) is None
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Succeeded(3, result="3"))
        ending = backend.ending("sum", 0.0)
        assert ending is not None
        assert (ending.status, ending.value, ending.problem) == (SUCCESS, "3", None)

    @needs("results")
    def test_a_result_that_could_not_be_stored_says_why(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="odd")])
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Succeeded(object(), problem="not JSON"))
        ending = backend.ending("odd", 0.0)
        assert ending is not None
        assert (ending.status, ending.value, ending.problem) == (SUCCESS, None, "not JSON")

    @needs("results")
    def test_a_failure_ends_the_wait_with_its_traceback(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="bad")])
        (claim,) = self.claim_all(backend)
        self.settle(backend, claim, Failed(FAILURE))
        ending = backend.ending("bad", 0.0)
        assert ending is not None
        assert ending.status == FAILED
        assert ending.failure is not None
        assert ending.failure.traceback == FAILURE.traceback

    @needs("results")
    def test_the_end_wakes_those_who_wait(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="slow")])
        (claim,) = self.claim_all(backend)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(backend.ending, "slow", 30.0)
            assert not waiting.done()
            self.settle(backend, claim, Succeeded("x", result='"x"'))
            ending = waiting.result(PATIENCE)
        assert ending is not None
        assert ending.value == '"x"'

    @needs("results")
    def test_nobody_waits_for_an_unknown_task(self, backend: Backend) -> None:
        with pytest.raises(UnknownTaskError, match="unknown"):
            backend.ending("unknown", 30.0)

    # Leases

    @needs("lease", "fence")
    def test_a_worker_without_a_lease_claims_nothing(self, backend: Backend) -> None:
        backend.enqueue([message()])
        assert backend.claim(["mail"], 1, uuid4(), thorough=True) == []
        worker = self.worker(backend)
        self.advance(backend, TTL + 1)
        assert backend.claim(["mail"], 1, worker, thorough=True) == []
        assert backend.len("mail") == 1

    @needs("lease", "fence")
    def test_a_beat_renews_a_lease_but_never_revives_it(self, backend: Backend) -> None:
        record = WorkerRecord(uuid4(), "host", 1, ("mail",), TTL)
        assert backend.heartbeat(record, first=True)
        self.advance(backend, TTL - 5)
        assert backend.heartbeat(record)
        self.advance(backend, TTL - 5)
        assert backend.heartbeat(record)
        self.advance(backend, TTL + 1)
        assert not backend.heartbeat(record)

    @needs("lease", "fence")
    def test_the_tasks_of_a_dead_worker_come_back(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        dead = self.worker(backend)
        (old,) = backend.claim(["mail"], 1, dead, thorough=True, begins=True)
        self.advance(backend, TTL + 1)
        living = self.worker(backend)
        (held,) = backend.claim(["mail"], 1, living, thorough=True)
        assert backend.rescue(3) == [old.id]
        (again,) = backend.claim(["mail"], 5, living, thorough=True)
        assert (again.id, again.attempts, again.crashes) == (old.id, 2, 1)
        assert not self.settle(backend, old, Succeeded())
        assert self.settle(backend, again, Succeeded())
        assert self.settle(backend, held, Succeeded())
        assert backend.rescue(3) == []

    @needs("lease", "fence")
    def test_a_worker_that_leaves_holding_tasks_is_rescued_at_once(self, backend: Backend) -> None:
        backend.enqueue([message()])
        worker = self.worker(backend)
        (claim,) = backend.claim(["mail"], 1, worker, thorough=True)
        backend.leave(worker, holds=True)
        assert backend.rescue(3) == [claim.id]

    @needs("lease", "fence")
    def test_a_claim_that_was_lost_on_the_way_is_handed_back(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        worker = self.worker(backend)
        known, lost = backend.claim(["mail"], 2, worker, thorough=True)
        assert backend.reconcile(worker, {known.id}) == [lost.id]
        (again,) = self.claim_all(backend)
        assert (again.id, again.attempts) == (lost.id, 1)
        assert self.settle(backend, known, Succeeded())

    @needs("lease", "fence", "find")
    def test_a_task_that_kills_its_workers_is_quarantined(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="poison")])
        for _ in range(3):
            (last,) = self.claim_all(backend, begins=True)
            assert self.rescued(backend) == [last.id]
        record = self.record(backend, "poison")
        assert (record.status, record.crashes, record.reason) == (FAILED, 3, "quarantined")
        assert record.attempts == 3
        assert record.error is not None
        for words in ("3 workers died", str(last.worker), "host", str(os.getpid())):
            assert words in record.error
        assert self.claim_all(backend) == []

    @needs("lease", "fence")
    def test_many_rescuers_take_a_task_back_once(self, backend: Backend) -> None:
        backend.enqueue([message() for _ in range(20)])
        claims = self.claim_all(backend)
        self.advance(backend, TTL + 1)
        barrier = threading.Barrier(4)

        def rescue(_: int) -> Sequence[UUID]:
            barrier.wait(PATIENCE)
            return backend.rescue(3)

        with ThreadPoolExecutor(4) as threads:
            rescued = [task for tasks in threads.map(rescue, range(4)) for task in tasks]
        assert sorted(rescued) == sorted(claim.id for claim in claims)

    # Crashes

    @needs("lease", "fence")
    def test_a_crash_counts_only_for_what_had_begun(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (held,) = self.claim_all(backend)
        assert not held.suspect
        assert self.rescued(backend) == [held.id]
        (again,) = self.claim_all(backend)
        assert (again.id, again.attempts, again.crashes, again.suspect) == (held.id, 1, 0, True)
        assert again.lease > held.lease

    @needs("lease", "fence")
    def test_a_suspect_that_was_announced_has_begun(self, backend: Backend) -> None:
        (suspect,) = self.suspects(backend)
        assert backend.begin([suspect]) == {suspect.id}
        self.rescued(backend)
        (again,) = self.claim_all(backend)
        assert (again.attempts, again.crashes, again.suspect) == (2, 1, False)

    @needs("lease", "fence")
    def test_a_suspect_does_not_begin_with_its_claim(self, backend: Backend) -> None:
        suspects = {claim.id for claim in self.suspects(backend, 2)}
        self.rescued(backend)
        backend.enqueue([message()])
        claims = self.claim_all(backend, begins=True)
        assert {claim.id for claim in claims if claim.suspect} == suspects
        self.rescued(backend)
        again = {claim.id: claim for claim in self.claim_all(backend)}
        (other,) = again.keys() - suspects
        assert (again[other].attempts, again[other].crashes) == (2, 1)
        for task_id in suspects:
            assert (again[task_id].attempts, again[task_id].crashes) == (1, 0)
            assert again[task_id].suspect

    @needs("lease", "fence")
    def test_what_never_began_is_never_quarantined(self, backend: Backend) -> None:
        backend.enqueue([message()])
        for _ in range(4):
            (claim,) = self.claim_all(backend)
            assert self.rescued(backend, max_crashes=1) == [claim.id]
        (claim,) = self.claim_all(backend)
        assert (claim.attempts, claim.crashes) == (1, 0)

    @needs("lease", "fence")
    def test_only_who_holds_a_suspect_may_begin_it(self, backend: Backend) -> None:
        first, second = self.suspects(backend, 2)
        assert self.settle(backend, first, Released())
        (new,) = self.claim_all(backend)
        assert backend.begin([first, second]) == {second.id}
        assert backend.begin([replace(new, worker=uuid4())]) == set()
        assert backend.begin([replace(new, lease=new.lease + 1)]) == set()
        self.rescued(backend)
        crashes = {claim.id: claim.crashes for claim in self.claim_all(backend)}
        assert crashes == {first.id: 0, second.id: 1}
        assert backend.begin([]) == set()

    @needs("lease", "fence")
    @pytest.mark.parametrize("outcome", PUT_BACK, ids=lambda outcome: type(outcome).__name__)
    def test_an_outcome_ends_a_suspicion_unless_it_is_a_release(
        self, backend: Backend, outcome: Outcome
    ) -> None:
        (suspect,) = self.suspects(backend)
        assert self.settle(backend, suspect, outcome)
        (again,) = self.claim_all(backend)
        assert again.suspect == isinstance(outcome, Released)

    @needs("lease", "fence")
    @pytest.mark.parametrize("outcome", PUT_BACK, ids=lambda outcome: type(outcome).__name__)
    def test_what_was_put_back_has_not_begun(self, backend: Backend, outcome: Outcome) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        assert self.settle(backend, claim, outcome)
        (held,) = self.claim_all(backend)
        self.rescued(backend)
        (again,) = self.claim_all(backend)
        assert (again.attempts, again.crashes, again.suspect) == (held.attempts, 0, True)

    @needs("lease", "fence", "find")
    def test_the_record_tells_whether_a_task_has_begun(self, backend: Backend) -> None:
        (suspect,) = self.suspects(backend)
        record = self.record(backend, suspect.id)
        assert (record.status, record.started_at) == (RUNNING, None)
        backend.begin([suspect])
        assert self.record(backend, suspect.id).started_at is not None
        assert backend.ack([Settlement(suspect, Released())]) == {suspect.id}
        assert self.record(backend, suspect.id).started_at is None
        (held,) = self.claim_all(backend)
        assert backend.ack([Settlement(held, Succeeded(), seconds=20.0)]) == {held.id}
        record = self.record(backend, suspect.id)
        assert record.started_at is not None
        assert record.finished_at is not None
        assert 19 < (record.finished_at - record.started_at).total_seconds() < 21

    @needs("lease", "fence", "claim_by_id")
    def test_a_task_that_is_claimed_by_its_id_begins_at_once(self, backend: Backend) -> None:
        (suspect,) = self.suspects(backend)
        assert self.settle(backend, suspect, Released())
        claim = backend.claim_one("mail", str(suspect.id), self.worker(backend))
        assert claim is not None
        assert not claim.suspect
        self.rescued(backend)
        (again,) = self.claim_all(backend)
        assert (again.attempts, again.crashes) == (2, 1)

    @needs("retry", "lease", "fence")
    def test_a_task_that_is_tried_again_is_no_suspect(self, backend: Backend) -> None:
        (suspect,) = self.suspects(backend)
        assert self.settle(backend, suspect, Failed(FAILURE))
        assert backend.retry("mail", str(suspect.id))
        (again,) = self.claim_all(backend)
        assert not again.suspect

    def suspects(self, backend: Backend, count: int = 1) -> list[Claim]:
        """Return the claims of as many suspects."""
        backend.enqueue([message() for _ in range(count)])
        self.claim_all(backend)
        assert len(self.rescued(backend)) == count
        claims = self.claim_all(backend)
        assert [claim.suspect for claim in claims] == [True] * count
        return claims

    # Cancelling what runs

    @needs("interrupt")
    def test_the_worker_of_a_canceled_task_is_told(self, backend: Backend) -> None:
        backend.enqueue([message(payload="oops"), message()])
        worker = self.worker(backend)
        wanted, other = backend.claim(["mail"], 2, worker, thorough=True, begins=True)
        held = {wanted.id, other.id}
        assert backend.canceled(worker, held) == set()
        assert backend.canceled(worker, set()) == set()
        for _ in range(2):
            assert backend.cancel("mail", str(wanted.id)) == "oops"
            assert backend.canceled(worker, held) == {wanted.id}
        assert backend.canceled(worker, {other.id, uuid4()}) == set()
        assert backend.canceled(uuid4(), held) == set()
        if backend.capabilities.find:
            assert self.record(backend, wanted.id).status == RUNNING
        assert self.settle(backend, wanted, Canceled(CANCELED_FAILURE))
        assert backend.canceled(worker, held) == set()
        assert backend.cancel("mail", str(wanted.id)) is None
        assert self.settle(backend, other, Succeeded())

    @needs("interrupt", "find")
    @pytest.mark.parametrize(
        ("outcome", "status"), [(Succeeded(), SUCCESS), (Failed(FAILURE), FAILED)]
    )
    def test_an_end_that_comes_first_stands(
        self, backend: Backend, outcome: Outcome, status: int
    ) -> None:
        claim = self.marked(backend)
        assert self.settle(backend, claim, outcome)
        assert self.record(backend, claim.id).status == status

    @needs("interrupt")
    @pytest.mark.parametrize("outcome", PUT_BACK, ids=lambda outcome: type(outcome).__name__)
    def test_a_canceled_task_does_not_wait_again(self, backend: Backend, outcome: Outcome) -> None:
        claim = self.marked(backend)
        assert self.settle(backend, claim, outcome)
        attempts = 1 if isinstance(outcome, Retry) else 0
        self.check_canceled(backend, claim, attempts=attempts)
        if backend.capabilities.find and isinstance(outcome, Retry):
            assert self.record(backend, claim.id).error == "ValueError: no such follower"
        if backend.capabilities.results and isinstance(outcome, Retry):
            ending = backend.ending(str(claim.id), 0.0)
            assert ending is not None
            assert ending.failure == replace(FAILURE, reason="canceled")
        assert not self.settle(backend, claim, Succeeded())

    @needs("interrupt")
    def test_a_batch_puts_back_what_is_not_canceled(self, backend: Backend) -> None:
        marked = self.marked(backend)
        backend.enqueue([message(), message()])
        worker = self.worker(backend)
        lost, other = backend.claim(["mail"], 2, worker, thorough=True)
        assert self.settle(backend, lost, Succeeded())
        settlements = [Settlement(one, Released()) for one in (lost, other, marked)]
        assert backend.ack(settlements) == {other.id, marked.id}
        self.check_canceled(backend, marked, attempts=0, waiting=[other])

    @needs("interrupt", "results")
    def test_a_wait_for_a_canceled_task_ends_when_it_is_released(self, backend: Backend) -> None:
        claim = self.marked(backend)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(backend.ending, str(claim.id), 30.0)
            self.settle(backend, claim, Released())
            ending = waiting.result(PATIENCE)
        assert ending is not None
        assert (ending.status, ending.value) == (CANCELED, None)

    @needs("interrupt", "lease", "fence")
    @pytest.mark.parametrize("begins", [True, False])
    def test_a_canceled_task_is_not_rescued(self, backend: Backend, begins: bool) -> None:
        claim = self.marked(backend, begins=begins)
        backend.enqueue([message()])
        (other,) = self.claim_all(backend)
        # No crash too many makes it fail: it was to be canceled.
        assert sorted(self.rescued(backend, max_crashes=1)) == sorted([claim.id, other.id])
        count = int(begins)
        self.check_canceled(backend, claim, attempts=count, crashes=count, waiting=[other])
        assert backend.rescue(3) == []

    @needs("interrupt", "lease", "fence")
    def test_a_canceled_task_whose_claim_was_lost_ends(self, backend: Backend) -> None:
        claim = self.marked(backend)
        assert backend.reconcile(claim.worker, set()) == [claim.id]
        self.check_canceled(backend, claim, attempts=0)

    @needs("interrupt", "retry")
    def test_a_canceled_task_that_is_tried_again_is_wanted(self, backend: Backend) -> None:
        claim = self.marked(backend)
        assert self.settle(backend, claim, Released())
        assert backend.retry("mail", str(claim.id))
        worker = self.worker(backend)
        (again,) = backend.claim(["mail"], 1, worker, thorough=True)
        assert backend.canceled(worker, {again.id}) == set()
        assert self.settle(backend, again, Released())
        assert backend.len("mail") == 1

    @needs("interrupt", "find")
    def test_a_cancellation_meets_a_release(self, backend: Backend) -> None:
        for _ in range(10):
            backend.enqueue([message()])
            (claim,) = self.claim_all(backend)
            barrier = threading.Barrier(2)

            def cancel(claim: Claim = claim, barrier: threading.Barrier = barrier) -> object:
                barrier.wait(PATIENCE)
                return backend.cancel("mail", str(claim.id))

            with ThreadPoolExecutor(1) as thread:
                canceled = thread.submit(cancel)
                barrier.wait(PATIENCE)
                assert self.settle(backend, claim, Released())
                assert canceled.result(PATIENCE) is not None
            self.check_canceled(backend, claim, attempts=0)

    @needs("interrupt", "wake")
    def test_a_cancellation_wakes_the_worker(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend)
        self.check_wakes(backend, lambda: backend.cancel("mail", str(claim.id)))

    def marked(self, backend: Backend, *, begins: bool = True) -> Claim:
        """Return the claim of a task that was canceled while it ran."""
        sent = message()
        backend.enqueue([sent])
        (claim,) = backend.claim(["mail"], 1, self.worker(backend), thorough=True, begins=begins)
        assert backend.cancel("mail", str(claim.id)) is not None
        return claim

    def check_canceled(
        self,
        backend: Backend,
        claim: Claim,
        *,
        attempts: int,
        crashes: int = 0,
        waiting: Sequence[Claim] = (),
    ) -> None:
        """Check that a task has ended as canceled, and that no others than ``waiting`` wait."""
        if backend.capabilities.find:
            record = self.record(backend, claim.id)
            assert (record.status, record.reason) == (CANCELED, "canceled")
            assert (record.attempts, record.crashes) == (attempts, crashes)
            assert record.finished_at is not None
        assert backend.canceled(claim.worker, {claim.id}) == set()
        assert [again.id for again in self.claim_all(backend)] == [one.id for one in waiting]

    # Progress

    @needs("progress", "find")
    def test_the_progress_of_a_running_task_can_be_found(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        worker = self.worker(backend)
        first, second = backend.claim(["mail"], 2, worker, thorough=True, begins=True)
        assert self.record(backend, first.id).progress is None
        backend.report(worker, {})
        backend.report(worker, {first.id: Progress(12.5), second.id: Progress(0.0, "begun")})
        odd = Progress(100.0, "=half 'of' it: 50 % 🐊, NUL \x00, \ud800" + "x" * 200)
        backend.report(worker, {first.id: odd, uuid4(): Progress(1.0, "nobody's")})
        assert self.record(backend, first.id).progress == odd
        assert self.record(backend, second.id).progress == Progress(0.0, "begun")
        assert self.settle(backend, first, Succeeded())
        assert self.record(backend, first.id).progress is None

    @needs("progress", "find")
    def test_only_the_worker_of_a_task_reports_its_progress(self, backend: Backend) -> None:
        sent = message()
        backend.enqueue([sent])
        old = self.worker(backend)
        (claim,) = backend.claim(["mail"], 1, old, thorough=True, begins=True)
        backend.report(uuid4(), {sent.id: Progress(99.0)})
        assert self.record(backend, sent.id).progress is None
        assert self.settle(backend, claim, Released())
        backend.report(old, {sent.id: Progress(99.0)})
        assert self.record(backend, sent.id).progress is None
        (again,) = self.claim_all(backend)
        backend.report(old, {sent.id: Progress(99.0)})
        assert self.record(backend, sent.id).progress is None
        assert self.settle(backend, again, Succeeded())
        backend.report(again.worker, {sent.id: Progress(99.0)})
        assert self.record(backend, sent.id).progress is None

    @needs("progress", "find")
    @pytest.mark.parametrize("outcome", PUT_BACK, ids=lambda outcome: type(outcome).__name__)
    def test_what_is_put_back_begins_anew(self, backend: Backend, outcome: Outcome) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        backend.report(claim.worker, {claim.id: Progress(50.0, "half of it")})
        assert self.settle(backend, claim, outcome)
        assert self.record(backend, claim.id).progress is None
        self.claim_all(backend, begins=True)
        assert self.record(backend, claim.id).progress is None

    @needs("progress", "find", "lease", "fence")
    def test_what_is_rescued_begins_anew(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        backend.report(claim.worker, {claim.id: Progress(50.0)})
        self.rescued(backend)
        assert self.record(backend, claim.id).progress is None

    # Completing in a transaction of the application

    @needs("transactional", "find")
    def test_a_completion_counts_with_the_transaction(
        self, backend: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        settlement = completed(claim)
        with closing(self.connect(backend)) as connection:
            assert backend.complete(settlement, connection)
            assert self.record(backend, claim.id).status == RUNNING
            connection.commit()
        record = self.record(backend, claim.id)
        assert (record.status, record.attempts, record.reason) == (SUCCESS, 1, None)
        with caplog.at_level(logging.WARNING):
            assert backend.ack([settlement]) == set()
        assert caplog.messages == []
        assert self.record(backend, claim.id) == record
        assert self.rescued(backend) == []

    @needs("transactional", "find")
    def test_a_completion_that_was_rolled_back_never_was(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        settlement = completed(claim, value=1, result="1")
        with closing(self.connect(backend)) as connection:
            assert backend.complete(settlement, connection)
            connection.rollback()
        assert self.record(backend, claim.id).status == RUNNING
        assert backend.ack([settlement]) == {claim.id}
        assert self.record(backend, claim.id).status == SUCCESS

    @needs("transactional", "find")
    def test_a_completion_is_fenced(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (old,) = self.claim_all(backend, begins=True)
        self.rescued(backend)
        (new,) = self.claim_all(backend, begins=True)
        for claim in (old, replace(new, worker=old.worker), replace(new, lease=old.lease)):
            self.check_incomplete(backend, completed(claim))
        record = self.record(backend, new.id)
        assert (record.status, record.worker_id) == (RUNNING, new.worker)
        assert self.settle(backend, new, Succeeded())
        self.check_incomplete(backend, completed(new))

    @needs("transactional", "find")
    def test_nothing_is_completed_when_the_lease_has_ended(self, backend: Backend) -> None:
        backend.enqueue([message()])
        (claim,) = self.claim_all(backend, begins=True)
        self.advance(backend, TTL + 1)
        self.check_incomplete(backend, completed(claim, value=1, result="1"))
        record = self.record(backend, claim.id)
        assert (record.status, record.worker_id) == (RUNNING, claim.worker)
        assert backend.rescue(3) == [claim.id]

    @needs("transactional", "interrupt", "find")
    def test_a_completion_that_comes_before_a_cancellation_stands(self, backend: Backend) -> None:
        claim = self.marked(backend)
        with closing(self.connect(backend)) as connection:
            assert backend.complete(completed(claim), connection)
            connection.commit()
        assert self.record(backend, claim.id).status == SUCCESS

    @needs("transactional", "results")
    def test_the_result_of_a_completion_is_there(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="sum")])
        (claim,) = self.claim_all(backend, begins=True)
        with closing(self.connect(backend)) as connection:
            assert backend.complete(completed(claim, value=3, result="3"), connection)
            connection.commit()
        ending = backend.ending("sum", 0.0)
        assert ending is not None
        assert (ending.status, ending.value, ending.problem) == (SUCCESS, "3", None)

    def check_incomplete(self, backend: Backend, settlement: Settlement) -> None:
        """Check that a success is refused in a transaction, which can be committed then."""
        with closing(self.connect(backend)) as connection:
            assert not backend.complete(settlement, connection)
            connection.commit()

    # Operators

    @needs("pause")
    def test_a_paused_queue_gives_nothing(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        backend.enqueue([message("other")])
        assert not backend.is_paused("mail")
        backend.pause("mail")
        assert (backend.is_paused("mail"), backend.is_paused("other")) == (True, False)
        worker = self.worker(backend)
        for thorough in (False, True):
            assert backend.claim(["mail"], 10, worker, thorough=thorough) == []
        assert [claim.queue for claim in self.claim_all(backend, "mail", "other")] == ["other"]
        backend.resume("mail")
        assert not backend.is_paused("mail")
        assert len(self.claim_all(backend)) == 2

    @needs("pause")
    def test_a_pause_stops_nothing_but_claims(self, backend: Backend) -> None:
        backend.enqueue([message(), message()])
        done, again = self.claim_all(backend)
        backend.pause("mail")
        assert not backend.enqueue([message(task_id="later")])[0].duplicate
        if backend.capabilities.find:
            record = backend.find("later")
            assert record is not None
            assert record.status == WAITING
        assert self.settle(backend, done, Succeeded())
        assert self.settle(backend, again, Retry(0.0, FAILURE, "again"))
        assert backend.len("mail") == 2
        assert self.claim_all(backend) == []

    @needs("pause")
    def test_pausing_and_resuming_twice_is_harmless(self, backend: Backend) -> None:
        backend.resume("mail")
        backend.pause("mail")  # before there was any task
        backend.pause("mail")
        backend.enqueue([message()])
        assert self.claim_all(backend) == []
        backend.resume("mail")
        backend.resume("mail")
        assert len(self.claim_all(backend)) == 1

    @needs("pause", "claim_by_id")
    def test_a_task_of_a_paused_queue_is_claimed_by_its_id(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="this one")])
        backend.pause("mail")
        claim = backend.claim_one("mail", "this one", self.worker(backend))
        assert claim is not None
        assert self.settle(backend, claim, Succeeded())

    @needs("pause", "delay")
    def test_nothing_is_to_come_from_a_paused_queue(self, backend: Backend) -> None:
        backend.enqueue([message(due=Moment(100.0))])
        backend.enqueue([message("other", due=Moment(300.0))])
        backend.pause("mail")
        assert backend.due_in(["mail"]) is None
        due = backend.due_in(["mail", "other"])
        assert due is not None
        assert due > 200
        backend.resume("mail")
        assert backend.due_in(["mail"]) is not None

    @needs("pause", "wake")
    def test_the_end_of_a_pause_wakes_a_listener(self, backend: Backend) -> None:
        backend.enqueue([message()])

        def pause_and_resume() -> None:
            backend.pause("mail")
            backend.resume("mail")

        self.check_wakes(backend, pause_and_resume)

    def failed(self, backend: Backend, sent: Message) -> Claim:
        """Let the task of ``sent``, the only one that waits, fail, and return its last claim."""
        backend.enqueue([sent])
        (claim,) = self.claim_all(backend)
        assert self.settle(backend, claim, Failed(FAILURE))
        return claim

    @needs("retry")
    def test_a_failed_task_waits_again(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="bad", payload="as it was", tags=("a",)))
        assert backend.retry("mail", "bad")
        assert backend.len("mail") == 1
        if backend.capabilities.find:
            record = backend.find("bad")
            assert record is not None
            assert (record.status, record.tags, record.reason) == (WAITING, ("a",), None)
            assert (record.attempts, record.crashes, record.worker_id) == (0, 0, None)
            assert (record.started_at, record.finished_at) == (None, None)
            assert record.error == "ValueError: no such follower"
        (again,) = self.claim_all(backend)
        assert (again.id, again.payload) == (id_of("bad"), "as it was")
        assert (again.attempts, again.crashes) == (1, 0)
        assert self.settle(backend, again, Succeeded())

    @needs("retry", "cancel")
    def test_a_canceled_task_waits_again_and_is_due(self, backend: Backend) -> None:
        able = backend.capabilities.delay
        backend.enqueue([message(task_id="mistake", due=Moment(300.0 if able else 0.0))])
        assert backend.cancel("mail", "mistake") is not None
        assert backend.retry("mail", "mistake")
        (claim,) = self.claim_all(backend)
        assert (claim.id, claim.attempts) == (id_of("mistake"), 1)

    @needs("retry")
    def test_only_what_failed_or_was_canceled_is_tried_again(self, backend: Backend) -> None:
        assert not backend.retry("mail", "unknown")
        self.failed(backend, message(task_id="task"))
        assert backend.retry("mail", "task")
        assert not backend.retry("mail", "task")  # it waits
        (claim,) = self.claim_all(backend)
        if backend.capabilities.lease:
            assert not backend.retry("mail", "task")  # it runs
        assert self.settle(backend, claim, Succeeded())
        assert not backend.retry("mail", "task")
        assert self.claim_all(backend) == []

    @needs("retry", "lease")
    def test_a_quarantined_task_gets_as_many_crashes_again(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="poison")])
        for _ in range(3):
            self.claim_all(backend, begins=True)
            self.rescued(backend)
        assert backend.retry("mail", "poison")
        self.claim_all(backend, begins=True)
        assert self.rescued(backend) == [id_of("poison")]
        (claim,) = self.claim_all(backend)
        assert (claim.attempts, claim.crashes) == (2, 1)

    @needs("retry", "lease", "fence")
    def test_a_late_outcome_from_before_a_retry_changes_nothing(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="bad")])
        worker = self.worker(backend)
        (old,) = backend.claim(["mail"], 1, worker, thorough=True)
        assert self.settle(backend, old, Failed(FAILURE))
        assert backend.retry("mail", "bad")
        self.check_fence(backend, old, worker)

    @needs("retry", "cancel", "lease", "fence")
    def test_a_late_outcome_from_before_a_cancellation_changes_nothing(
        self, backend: Backend
    ) -> None:
        backend.enqueue([message(task_id="mistake")])
        worker = self.worker(backend)
        (old,) = backend.claim(["mail"], 1, worker, thorough=True)
        assert self.settle(backend, old, Released())
        assert backend.cancel("mail", "mistake") is not None
        assert backend.retry("mail", "mistake")
        self.check_fence(backend, old, worker)

    def check_fence(self, backend: Backend, old: Claim, worker: UUID) -> None:
        """Let ``worker`` claim again what it held as ``old``, and check which of both counts."""
        (new,) = backend.claim(["mail"], 1, worker, thorough=True)
        assert new.id == old.id
        assert new.lease > old.lease
        for outcome in (Succeeded(), Failed(FAILURE), Retry(0, FAILURE, "changed"), Released()):
            assert not self.settle(backend, old, outcome)
        assert self.settle(backend, new, Succeeded())

    @needs("retry", "unique_key")
    def test_a_task_whose_unique_key_is_taken_is_not_tried_again(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="first", unique_key="k"))
        backend.enqueue([message(task_id="second", unique_key="k")])
        assert not backend.retry("mail", "first")
        if backend.capabilities.find:
            record = backend.find("first")
            assert record is not None
            assert (record.status, record.attempts) == (FAILED, 1)
        (claim,) = self.claim_all(backend)
        assert claim.id == id_of("second")
        self.settle(backend, claim, Succeeded())
        assert backend.retry("mail", "first")
        assert backend.enqueue([message(unique_key="k")])[0].id == id_of("first")

    @needs("retry", "expires")
    def test_an_expired_task_that_is_tried_again_expires_no_more(self, backend: Backend) -> None:
        backend.enqueue([message(task_id="late", expires=Moment(60.0))])
        self.advance(backend, 61)
        (claim,) = self.claim_all(backend)
        expired = Failure("Expired", "too late", reason="expired")
        assert self.settle(backend, claim, Failed(expired, started=False))
        assert backend.retry("mail", "late")
        (again,) = self.claim_all(backend)
        assert again.expires_in is None

    @needs("retry", "retention", "find")
    def test_a_task_that_is_tried_again_is_no_history(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="bad"))
        assert backend.retry("mail", "bad")
        self.advance(backend, 600)
        assert backend.prune(60, 60) == 0
        assert backend.find("bad") is not None

    @needs("retry", "results")
    def test_the_end_of_a_task_that_is_tried_again_is_the_new_one(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="sum"))
        assert backend.retry("mail", "sum")
        assert backend.ending("sum", 0.0) is None
        (again,) = self.claim_all(backend)
        self.settle(backend, again, Succeeded(3, result="3"))
        ending = backend.ending("sum", 0.0)
        assert ending is not None
        assert (ending.status, ending.value) == (SUCCESS, "3")

    @needs("retry")
    def test_many_who_try_a_task_again_do_it_once(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="bad"))
        barrier = threading.Barrier(4)

        def retry(_: int) -> bool:
            barrier.wait(PATIENCE)
            return backend.retry("mail", "bad")

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(retry, range(4))) == [False, False, False, True]
        assert len(self.claim_all(backend)) == 1

    @needs("retry", "wake")
    def test_a_task_that_is_tried_again_wakes_a_listener(self, backend: Backend) -> None:
        self.failed(backend, message(task_id="bad"))

        def retry() -> None:
            assert backend.retry("mail", "bad")
            (claim,) = self.claim_all(backend)
            assert self.settle(backend, claim, Failed(FAILURE))

        self.check_wakes(backend, retry)

    # History and wake-up

    @needs("retention", "find")
    def test_history_goes_when_it_is_old_enough(self, backend: Backend) -> None:
        good, bad, live = message(), message(), message()
        backend.enqueue([good, bad, live])
        first, second, _ = self.claim_all(backend)
        self.settle(backend, first, Succeeded(1, result="1"))
        self.settle(backend, second, Failed(FAILURE))
        assert backend.prune(60, 600) == 0
        self.advance(backend, 61)
        assert backend.prune(60, 600) == 1
        assert backend.find(str(good.id)) is None
        assert backend.find(str(bad.id)) is not None
        self.advance(backend, 600)
        assert backend.prune(60, 600) == 1
        assert backend.find(str(live.id)) is not None
        assert not backend.enqueue([good])[0].duplicate

    @needs("wake")
    def test_a_new_task_wakes_a_listener(self, backend: Backend) -> None:
        self.check_wakes(backend, lambda: backend.enqueue([message()]))

    @needs("wake", "lease")
    def test_a_task_that_was_handed_back_wakes_a_listener(self, backend: Backend) -> None:
        backend.enqueue([message()])
        self.check_wakes(
            backend, lambda: self.settle(backend, self.claim_all(backend)[0], Released())
        )

    def check_wakes(self, backend: Backend, act: Callable[[], object]) -> None:
        """Check that ``act``, which may be called several times, wakes a listener."""
        backend.open()
        listening = threading.Event()

        def listen() -> bool:
            backend.listen(["mail"], 0.1)
            while backend.listen(["mail"], 0.01):
                pass
            listening.set()
            return backend.listen(["mail"], PATIENCE)

        with ThreadPoolExecutor(1) as thread:
            woken = thread.submit(listen)
            assert listening.wait(PATIENCE)
            while not woken.done():
                act()
                if threading.Event().wait(0.1):
                    break
            assert woken.result(1)

    @needs("wake")
    def test_silence_wakes_nobody(self, backend: Backend) -> None:
        backend.open()
        while backend.listen(["mail"], 0.05):
            pass
        assert not backend.listen(["mail"], 0.05)

    def test_closing_leaves_the_tasks(self, backend: Backend) -> None:
        backend.enqueue([message()])
        backend.close()
        assert backend.len("mail") == 1
