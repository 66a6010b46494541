"""Every backend with leases does what the model says, whatever happens in whatever order.

``ALLIGATOR_MODEL_EXAMPLES=2000`` asks for more runs than usual, with new ones each time.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alligator_sql.backends import Backend
from alligator_sql.backends.redis import backend as redis_backend
from alligator_sql.backends.sql import backend as sql_backend
from alligator_sql.constants import CANCELED, FAILED, SUCCESS
from alligator_sql.ids import new_id
from alligator_sql.messages import (
    Claim,
    Failure,
    Message,
    Moment,
    Progress,
    TaskRecord,
    WorkerRecord,
)
from alligator_sql.outcomes import (
    Canceled,
    Failed,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)

from . import stores
from .model import Model, Task

pytestmark = pytest.mark.timeout(900)

# Time passes in hundreds of seconds, and whatever has a time has it at half a hundred: so the
# few seconds that an example really takes decide nothing.
STEP = 100.0
TTL = 350.0
KEEP_SUCCESS, KEEP_FAILED = 150.0, 450.0
TOLERANCE = 40.0

WORKERS = ("ann", "bob", "cleo")
QUEUES = ("mail", "pictures")
FAILURE = Failure("ValueError", "no such follower", reason="discarded")

workers = st.sampled_from(WORKERS)
queues = st.sampled_from(QUEUES)
delays = st.sampled_from([0.0, 50.0, 250.0])
outcomes = st.one_of(
    st.just(Succeeded()),
    st.builds(Failed, st.just(FAILURE), started=st.booleans()),
    st.builds(Canceled, st.just(FAILURE)),
    st.builds(Retry, delays, st.just(FAILURE), st.sampled_from(["second", "third"])),
    st.builds(Snoozed, delays, st.just(ValueError("later"))),
    st.just(Released()),
)
seconds = st.sampled_from([None, 1.0])
picks = st.integers(0, 5)
max_crashes = st.sampled_from([3, 1])


class Tasks(RuleBasedStateMachine):
    """Several workers on one store, and what they know: every claim that they ever got."""

    ids = Bundle("ids")
    claims = Bundle("claims")

    def __init__(self, opened: AbstractContextManager[stores.Store]) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.store = self._stack.enter_context(opened)
        self.model = Model()
        self.backends = {name: self.store.process() for name in WORKERS}
        self.incarnations: dict[str, UUID] = {}
        self.given: list[Claim] = []
        self.known: dict[UUID, TaskRecord | None] = {}
        for name in WORKERS:
            self._join(name)

    def teardown(self) -> None:
        self._stack.close()

    @property
    def backend(self) -> Backend:
        return self.backends[WORKERS[0]]

    @initialize(target=ids, limit=st.integers(1, 3), begins=st.booleans())
    def begin_with_some_tasks(self, limit, begins):
        """Most of the life of a task comes after its claim."""
        first = [
            _message("mail", "0"),
            _message("mail", "1", priority=5),
            _message("mail", "2"),
            _message("mail", "3", due=Moment(50.0)),
        ]
        self._enqueue(first)
        self._compare_all()
        self._claim("ann", QUEUES, limit, begins=begins)
        return multiple(*(message.id for message in first))

    # Producers

    @rule(
        target=ids,
        count=st.integers(1, 3),
        queue=queues,
        priority=st.sampled_from([0, 5, -5]),
        due=delays.map(Moment),
        expires=st.sampled_from([None, Moment(150.0)]),
        unique_key=st.sampled_from([None, None, "a key"]),
    )
    def enqueue(self, count, queue, **options):
        return multiple(*self._enqueue([_message(queue, str(n), **options) for n in range(count)]))

    @rule(task_id=ids, queue=queues)
    def enqueue_again(self, task_id, queue):
        if not self.store.knows_ids_everywhere:
            queue = self._queue_of(task_id)
        self._enqueue([Message(task_id, str(task_id), queue, "tests.tasks:send", "again")])

    def _enqueue(self, messages: Sequence[Message]) -> list[UUID]:
        receipts = self.backend.enqueue(messages)
        existing = [self.model.enqueue(message) for message in messages]
        assert [receipt.duplicate for receipt in receipts] == [one is not None for one in existing]
        if len(messages) == 1 and existing[0] is not None:
            (receipt,) = receipts
            assert (receipt.id, receipt.payload) == (existing[0].message.id, existing[0].payload)
        self.known.update(dict.fromkeys(message.id for message in messages))
        return [message.id for message in messages]

    # Workers

    @rule(
        target=claims,
        name=workers,
        names=st.permutations(QUEUES),
        limit=st.integers(1, 4),
        begins=st.booleans(),
        is_new_process=st.booleans(),
    )
    def claim(self, name, names, limit, begins, is_new_process):
        if is_new_process:
            self.backends[name] = self.store.process()
        exactly = is_new_process or self.store.is_exact
        return multiple(*self._claim(name, names, limit, begins=begins, exactly=exactly))

    def _claim(
        self,
        name: str,
        names: Sequence[str],
        limit: int,
        *,
        begins: bool,
        exactly: bool = True,
    ) -> list[Claim]:
        worker = self.incarnations[name]
        claims = self.backends[name].claim(names, limit, worker, thorough=True, begins=begins)
        due = [task for queue in names for task in self._in_order(self.model.due(queue, worker))]
        taken = [self.model.tasks.get(claim.id) for claim in claims]
        if exactly:
            assert taken == due[:limit]
        else:
            assert taken == [task for task in due if task in taken]
            assert bool(due) == bool(taken)
            assert len(taken) <= limit
        for claim in claims:
            task = self.model.tasks[claim.id]
            self.model.hold(task, worker, begins=begins)
            self._compare_claim(claim, task)
        return claims

    def _in_order(self, tasks: list[Task]) -> list[Task]:
        """Sort by priority, due time and id; the model knows the time less exactly."""

        def order(task: Task) -> tuple[int, datetime, UUID]:
            record = self.known[task.message.id]
            assert record is not None
            return -task.message.priority, record.run_at, task.message.id

        return sorted(tasks, key=order)

    @rule(target=claims, name=workers, task_id=ids)
    def claim_one(self, name, task_id):
        worker = self.incarnations[name]
        claim = self.backends[name].claim_one(self._queue_of(task_id), str(task_id), worker)
        task = self.model.tasks.get(task_id)
        assert (claim is not None) == (task is not None and task.is_waiting)
        if claim is None or task is None:
            return multiple()
        self.model.hold_one(task, worker)
        self._compare_claim(claim, task)
        return claim

    def _compare_claim(self, claim: Claim, task: Task) -> None:
        self.given.append(claim)
        assert (claim.queue, claim.payload) == (task.message.queue, task.payload)
        assert (claim.lease, claim.worker) == (task.lease, task.worker)
        assert (claim.attempts, claim.crashes) == (task.attempts, task.crashes)
        assert claim.suspect == task.is_suspect
        assert _near(claim.age, self.model.now - task.created_at)
        assert _near(claim.expires_in, task.expires_at and task.expires_at - self.model.now)

    @precondition(lambda self: any(claim.suspect for claim in self.given))
    @rule()
    def begin(self):
        suspects = list({claim.id: claim for claim in self.given if claim.suspect}.values())
        assert self.backend.begin(suspects) == self.model.begin(suspects)

    @precondition(lambda self: self.held)
    @rule(pick=picks, outcome=outcomes, seconds=seconds)
    def settle(self, pick, outcome, seconds):
        """Settle a task that is held."""
        self._ack([Settlement(self._one_of(self.held, pick), outcome, seconds)])

    @rule(
        batch=st.lists(
            st.tuples(claims, outcomes), min_size=1, max_size=4, unique_by=lambda one: one[0].id
        )
    )
    def settle_any(self, batch):
        """Settle whatever somebody ever held, late or not."""
        self._ack([Settlement(claim, outcome) for claim, outcome in batch])

    @precondition(lambda self: self.overtaken)
    @rule(pick=picks, outcome=outcomes)
    def settle_late(self, pick, outcome):
        """Settle a task that runs again, for its former claim."""
        self._ack([Settlement(self._one_of(self.overtaken, pick), outcome)])

    def _one_of(self, choices, pick):
        return choices[pick % len(choices)]

    @property
    def held(self) -> list[Claim]:
        """The claims whose fence holds, as the store gave them."""
        return [claim for claim in self.given if self.model.holds(claim)]

    @property
    def overtaken(self) -> list[Claim]:
        """The claims whose tasks run again under later ones."""
        again = {claim.id for claim in self.held}
        return [c for c in self.given if c.id in again and not self.model.holds(c)]

    @precondition(lambda self: self.backend.capabilities.transactional)
    @precondition(lambda self: self.given)
    @rule(pick=picks, late=st.booleans(), commits=st.booleans())
    def complete(self, pick, late, commits):
        """In a transaction of the caller; the outcome that the worker sends later is no news."""
        claim = self._one_of(self.given if late else self.held or self.given, pick)
        settlement = Settlement(claim, Succeeded(completed=True))
        may = self.model.may_complete(claim)
        assert self.store.complete(settlement, commits=commits) == may
        if may and commits:
            self.model.settle(settlement)

    @precondition(lambda self: self.held)
    @rule(pick=picks, percent=st.sampled_from([0.0, 62.5]), name=st.none() | workers)
    def report(self, pick, percent, name):
        """Tell the progress of a task that is held, by its worker or by any."""
        claim = self._one_of(self.held, pick)
        worker = claim.worker if name is None else self.incarnations[name]
        progress = Progress(percent, "so far")
        self.backend.report(worker, {claim.id: progress})
        self.model.report(worker, claim.id, progress)

    def _ack(self, settlements: Sequence[Settlement]) -> None:
        applied = {one.claim.id for one in settlements if self.model.settle(one)}
        assert self.backend.ack(settlements) == applied

    @rule(name=workers, forgets=st.booleans())
    def reconcile(self, name, forgets):
        worker = self.incarnations[name]
        held = [task.message.id for task in self.model.held(worker)][forgets:]
        lost = self.backends[name].reconcile(worker, held)
        assert set(lost) == self.model.reconcile(worker, held)

    @rule(name=workers)
    def heartbeat(self, name):
        record = _record(self.incarnations[name])
        renewed = self.backends[name].heartbeat(record)
        assert renewed == self.model.heartbeat(record.id, TTL)
        if not renewed:
            self._join(name)

    @rule(name=workers, returns=st.booleans())
    def leave(self, name, returns):
        """End a lease. A worker that does not return does not know that it has none."""
        worker = self.incarnations[name]
        self.backends[name].leave(worker, holds=bool(self.model.held(worker)))
        self.model.leave(worker)
        if returns:
            self._join(name)

    def _join(self, name: str) -> None:
        worker = self.incarnations[name] = uuid4()
        assert self.backends[name].heartbeat(_record(worker), first=True)
        self.model.join(worker, TTL)

    @rule(name=workers, max_crashes=max_crashes)
    def rescue(self, name, max_crashes):
        rescued = self.backends[name].rescue(max_crashes)
        assert sorted(rescued) == sorted(self.model.rescue(max_crashes))

    @rule(target=claims, name=workers, heir=workers, max_crashes=max_crashes, begins=st.booleans())
    def die(self, name, heir, max_crashes, begins):
        """The whole story at once: another one takes the tasks back and goes on with them."""
        self.leave(name, returns=True)
        self.rescue(heir, max_crashes)
        self._compare_all()
        exactly = self.store.is_exact
        return multiple(*self._claim(heir, QUEUES, 4, begins=begins, exactly=exactly))

    # Operators

    @rule(task_id=ids)
    def cancel(self, task_id):
        payload = self.backend.cancel(self._queue_of(task_id), str(task_id))
        assert payload == self.model.cancel(task_id)

    @rule(task_id=ids)
    def retry(self, task_id):
        tried = self.backend.retry(self._queue_of(task_id), str(task_id))
        assert tried == self.model.retry(task_id)

    def _queue_of(self, task_id):
        task = self.model.tasks.get(task_id)
        return task.message.queue if task else QUEUES[0]

    @rule(queue=queues, pauses=st.booleans())
    def pause(self, queue, pauses):
        if pauses:
            self.backend.pause(queue)
            self.model.paused.add(queue)
        else:
            self.backend.resume(queue)
            self.model.paused.discard(queue)

    @rule(queue=queues)
    def drop_all(self, queue):
        self.backend.drop_all(queue)
        self.model.drop_all(queue)

    @rule()
    def prune(self):
        keep = {SUCCESS: KEEP_SUCCESS, FAILED: KEEP_FAILED, CANCELED: KEEP_FAILED}
        assert self.backend.prune(KEEP_SUCCESS, KEEP_FAILED) == self.model.prune(keep)

    @rule(steps=st.sampled_from([1, 4]))
    def let_time_pass(self, steps):
        self.store.advance(steps * STEP)
        self.model.now += steps * STEP

    # What the store says

    @invariant()
    def every_task_is_as_in_the_model(self):
        self._compare_all()

    def _compare_all(self) -> None:
        for task_id in self.known:
            record = self.known[task_id] = self.backend.find(str(task_id))
            task = self.model.tasks.get(task_id)
            assert (record is None) == (task is None)
            if record is not None and task is not None:
                self._compare(record, task)

    def _compare(self, record: TaskRecord, task: Task) -> None:
        assert (record.status, record.reason) == (task.status, task.reason)
        assert (record.attempts, record.crashes) == (task.attempts, task.crashes)
        assert (record.worker_id, record.progress) == (task.worker, task.progress)
        assert (record.started_at is not None) == task.has_begun
        assert (record.finished_at is not None) == (task.finished_at is not None)
        due_in = (record.run_at - record.created_at).total_seconds()
        assert _near(due_in, task.run_at - task.created_at)

    @invariant()
    def every_worker_hears_of_what_was_canceled(self):
        for worker in self.incarnations.values():
            held = [task.message.id for task in self.model.held(worker)]
            assert self.backend.canceled(worker, held) == self.model.canceled(worker, held)

    @invariant()
    def every_queue_is_as_in_the_model(self):
        for queue in QUEUES:
            assert self.backend.len(queue) == len(self.model.waiting(queue))
            assert self.backend.is_paused(queue) == (queue in self.model.paused)
            assert _near(self.backend.due_in([queue]), self.model.due_in(queue))


def _message(queue: str, payload: str, **options: Any) -> Message:
    task_id = new_id()
    return Message(task_id, str(task_id), queue, "tests.tasks:send", payload, **options)


def _record(worker: UUID) -> WorkerRecord:
    return WorkerRecord(worker, "host", 1, QUEUES, TTL)


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < TOLERANCE


def _check(opened: Callable[[], AbstractContextManager[stores.Store]], examples: int) -> None:
    class OnThisStore(Tasks):
        def __init__(self) -> None:
            super().__init__(opened())

    more = int(os.environ.get("ALLIGATOR_MODEL_EXAMPLES", "0"))
    profile = settings(
        max_examples=more or examples,
        derandomize=not more,
        stateful_step_count=50 if more else 30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisStore, settings=profile)


@pytest.fixture
def _thorough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every rescue look for tasks whose worker is unknown: else few do, to save time."""
    monkeypatch.setattr(sql_backend, "STRAY_INTERVAL", 0.0)
    monkeypatch.setattr(redis_backend, "FULL_CHECK", 0.0)


def test_local_memory_does_what_the_model_says():
    _check(lambda: nullcontext(stores.LocalMemoryStore()), 120)


@pytest.mark.usefixtures("_thorough")
def test_sqlite_does_what_the_model_says(upgraded_sqlite, tmp_path):
    _check(lambda: stores.sqlite(upgraded_sqlite, tmp_path), 30)


@pytest.mark.usefixtures("_thorough")
def test_postgresql_does_what_the_model_says(postgres18_dsn):
    _check(lambda: stores.postgresql(postgres18_dsn), 20)


@pytest.mark.usefixtures("_thorough")
def test_redis_does_what_the_model_says(redis_dsn):
    _check(lambda: closing(stores.RedisStore(redis_dsn)), 40)
