"""A worker inside the test's own process: what it does when tasks or the store misbehave."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID, uuid4

import pytest

from alligator_sql import Gator, Worker
from alligator_sql.backends.locmem import LocalMemoryBackend
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.constants import SUCCESS
from alligator_sql.exceptions import InvalidOptionError, StoreUnavailableError
from alligator_sql.lease import Lease
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Settlement
from alligator_sql.testing.clock import ManualClock
from alligator_sql.workers.consumer import Consumer
from alligator_sql.workers.services.attendant import Attendant
from tests.helpers import PATIENCE, wait_until
from tests.integration import gates


@pytest.fixture(autouse=True)
def _fresh_gates() -> Iterator[None]:
    gates.reset()
    yield
    gates.reset()


@pytest.fixture
def gator() -> Gator:
    return Gator(f"locmem://{uuid4()}")


@contextmanager
def running(worker: Worker) -> Iterator[Future[int]]:
    """Run a worker on a thread until the block ends."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(worker.run_forever)
        try:
            yield future
        finally:
            gates.current.opened.set()
            worker.stop()
            assert future.result(PATIENCE) == 0


def test_what_a_long_task_holds_up_goes_to_another_worker(gator: Gator) -> None:
    gator.map(gates.quick, [f"warm {number}" for number in range(200)])
    Worker(gator, burst=True).run_forever()
    gator.map(gates.quick, [f"before {number}" for number in range(200)])
    gator.task(gates.gate, "long")
    gator.map(gates.quick, ["behind 1", "behind 2"])
    with running(Worker(gator)):
        assert gates.current.entered.wait(PATIENCE)
        with running(Worker(gator)):
            wait_until(lambda: {"behind 1", "behind 2"} <= set(gates.current.ran))
            assert "long" not in gates.current.ran
            gates.current.opened.set()
    assert "long" in gates.current.ran
    assert len(gates.current.ran) == len(set(gates.current.ran))


def test_a_long_task_alone_is_all_that_is_held(gator: Gator) -> None:
    for number in range(3):
        gator.task(gates.gate, f"long {number}")
    with running(Worker(gator, concurrency=2)):
        assert gates.current.entered.wait(PATIENCE)
        wait_until(lambda: gator.len() == 1)


def test_a_stop_hands_back_what_has_not_started(gator: Gator) -> None:
    gator.map(gates.quick, [f"warm {number}" for number in range(300)])
    gator.task(gates.gate, "long")
    tasks = [gator.task(gates.quick, f"behind {number}") for number in range(3)]
    worker = Worker(gator)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(worker.run_forever)
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        wait_until(lambda: gator.len() == 3)
        assert not future.done()
        gates.current.opened.set()
        assert future.result(PATIENCE) == 0
    records = [gator.find(task.task_id) for task in tasks]
    assert [record.attempts for record in records if record is not None] == [0, 0, 0]
    assert gates.current.ran[-1] == "long"


def test_a_second_stop_releases_what_still_runs(gator: Gator) -> None:
    task = gator.task(gates.gate, "long")
    worker = Worker(gator)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(worker.run_forever)
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        worker.stop()
        assert future.result(PATIENCE) == 0
    record = gator.find(task.task_id)
    assert record is not None
    assert (record.status_name, record.attempts) == ("waiting", 0)


def test_running_tasks_get_only_their_grace(gator: Gator) -> None:
    gator.task(gates.gate, "long")
    worker = Worker(gator, grace=0)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(worker.run_forever)
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        assert future.result(PATIENCE) == 0
    assert gator.len() == 1


def test_nothing_is_left_behind_by_a_second_stop(gator: Gator) -> None:
    gator.map(gates.quick, [f"warm {number}" for number in range(300)])
    gator.task(gates.gate, "long")
    behind = [gator.task(gates.quick, f"behind {number}") for number in range(3)]
    worker = Worker(gator, grace=0)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(worker.run_forever)
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        assert future.result(PATIENCE) == 0
    assert gator.len() == 4
    records = [gator.find(task.task_id) for task in behind]
    assert [record.attempts for record in records if record is not None] == [0, 0, 0]


def test_a_consumer_that_was_woken_claims_before_anything_else_goes_on(monkeypatch) -> None:
    claims: list[object] = []
    before: list[int] = []
    after: list[int] = []

    class Noting(LocalMemoryBackend):
        """Notes that it was asked for tasks."""

        def claim(self, *arguments, **options):
            claims.append(arguments)
            return super().claim(*arguments, **options)

    def note(owner: type, counts: list[int]) -> None:
        wake = owner.wake  # type: ignore[attr-defined]

        def noting(self: object) -> None:
            counts.append(len(claims))
            wake(self)

        monkeypatch.setattr(owner, "wake", noting)

    note(Consumer, before)
    note(Attendant, after)
    gator = Gator(f"locmem://{uuid4()}", backend_class=Noting)
    with running(Worker(gator, nap_time=60)):
        for number in range(20):
            gator.task(gates.quick, str(number))
            wait_until(lambda: len(gates.current.ran) > number)  # noqa: B023 - called at once
    ahead = sum(then > first for first, then in zip(before, after, strict=False))
    assert ahead > len(after) / 2


def test_a_wake_up_does_not_keep_a_full_worker_busy(gator: Gator) -> None:
    gator.task(gates.gate, "long")
    worker = Worker(gator)
    with running(worker):
        assert gates.current.entered.wait(PATIENCE)
        gator.task(gates.quick, "wakes the worker, which has no thread for it")
        wait_until(lambda: _busy_in(0.5) < 0.25)


def _busy_in(seconds: float) -> float:
    """Return for how long this process computes within ``seconds``."""
    before = time.process_time()
    threading.Event().wait(seconds)
    return time.process_time() - before


def test_a_stuck_task_does_not_keep_a_worker_from_looking_in_time(
    gator: Gator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alligator_sql.workers.runners.base.STUCK_AFTER", 0.01)
    gator.options(timeout=0.01).task(gates.stay)
    worker = Worker(gator)
    with running(worker):
        assert gates.current.entered.wait(PATIENCE)
        consumer = worker._consumer
        assert consumer is not None
        wait_until(lambda: consumer._stuck == 1)
        assert consumer._wants_more()


def test_an_idle_worker_says_that_it_was_told_to_stop(
    gator: Gator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(Worker(gator)):
        wait_until(lambda: "consuming" in caplog.text)
    assert "told to stop" in caplog.text


class _Refusing(LocalMemoryBackend):
    """Local memory that refuses one kind of outcome, as a constraint of a database would."""

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        self._check(settlements)
        return super().ack(settlements)

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
        **options: Any,
    ) -> list[Claim]:
        self._check(settlements)
        return super().claim(queues, limit, worker, settlements, **options)

    def _check(self, settlements: Sequence[Settlement]) -> None:
        if any(getattr(one.outcome, "value", None) == "poison" for one in settlements):
            raise ValueError("this outcome cannot be stored")


def test_an_outcome_that_is_refused_holds_up_no_other() -> None:
    gator = Gator(f"locmem://{uuid4()}", backend_class=_Refusing)
    good = [gator.task(gates.echo, number) for number in range(5)]
    bad = gator.task(gates.echo, "poison")
    good += [gator.task(gates.echo, number) for number in range(5)]
    assert Worker(gator, burst=True).run_forever() == 0
    assert {gator.find(task.task_id).status_name for task in good} == {"success"}  # type: ignore[union-attr]
    record = gator.find(bad.task_id)
    assert record is not None
    assert record.error == "ValueError: The outcome was refused: this outcome cannot be stored"


def test_an_outcome_that_is_refused_at_a_stop_keeps_no_other_task_from_its_release() -> None:
    gator = Gator(f"locmem://{uuid4()}", backend_class=_Refusing)
    bad = gator.task(gates.answer_when_told_to_stop, "poison")
    long = gator.task(gates.gate, "long")
    with running(worker := Worker(gator, concurrency=2, grace=0)) as ended:
        assert gates.current.answering.wait(PATIENCE)
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        assert ended.result(PATIENCE) == 0
    records = [gator.find(task.task_id) for task in (bad, long)]
    assert [record and (record.status_name, record.attempts) for record in records] == [
        ("failed", 1),
        ("waiting", 0),
    ]


class _Trouble(LocalMemoryBackend):
    """Local memory behind a bad line."""

    def __init__(self, conn_string: str) -> None:
        super().__init__(conn_string)
        self.before: list[Exception] = []
        self.after: list[Exception] = []

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
        **kwargs: Any,
    ) -> list[Claim]:
        if self.before:
            raise self.before.pop()
        claims = super().claim(queues, limit, worker, settlements, **kwargs)
        if claims and self.after:
            raise self.after.pop()
        return claims


class _AwayAtTheEnd(LocalMemoryBackend):
    """Local memory that is away when outcomes are sent on their own, for the first times."""

    refusals = 3

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailableError("restarting")
        return super().ack(settlements)


def test_a_stop_waits_a_moment_for_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alligator_sql.workers.consumer.LAST_PAUSE", 0.0)
    gator = Gator(f"locmem://{uuid4()}", backend_class=_AwayAtTheEnd)
    task = gator.task(gates.gate, "long")
    with running(worker := Worker(gator, grace=0)) as ended:
        assert gates.current.entered.wait(PATIENCE)
        worker.stop()
        assert ended.result(PATIENCE) == 0
    record = gator.find(task.task_id)
    assert record is not None
    assert (record.status_name, record.attempts, record.crashes) == ("waiting", 0, 0)


def _troubled() -> tuple[Gator, _Trouble]:
    gator = Gator(f"locmem://{uuid4()}", backend_class=_Trouble)
    assert isinstance(gator.backend, _Trouble)
    return gator, gator.backend


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), RuntimeError("a bug")])
def test_trouble_with_the_store_does_not_end_the_worker(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    gator, backend = _troubled()
    backend.before = [error, error]
    gator.task(gates.quick, "after all")
    with running(Worker(gator)):
        wait_until(lambda: gates.current.ran == ["after all"])
    told = [record for record in caplog.records if "has trouble" in record.message]
    assert len(told) == 1


def test_a_claim_whose_answer_was_lost_runs_all_the_same() -> None:
    gator, backend = _troubled()
    backend.after = [StoreUnavailableError("the answer was lost")]
    tasks = [gator.task(gates.quick, f"task {number}") for number in range(5)]
    with running(Worker(gator)):
        wait_until(lambda: len(gates.current.ran) == 5)
    assert sorted(gates.current.ran) == [f"task {number}" for number in range(5)]
    records = [gator.find(task.task_id) for task in tasks]
    assert {record.attempts for record in records if record is not None} == {1}


def test_a_worker_whose_lease_ended_goes_on_as_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    dsn = f"locmem://{uuid4()}"
    gator = Gator(dsn, backend_class=lambda conn: LocalMemoryBackend(conn, clock=clock))
    first = gator.task(gates.gate, "under the old lease")
    with running(Worker(gator, lease=9, concurrency=3)):
        assert gates.current.entered.wait(PATIENCE)
        before = gator.find(first.task_id)
        clock.advance(60)
        wait_until(lambda: any("has ended" in record.message for record in caplog.records))
        wait_until(lambda: any("took back 1" in record.message for record in caplog.records))
        gator.task(gates.quick, "under the new lease")
        wait_until(lambda: "under the new lease" in gates.current.ran)
        gates.current.opened.set()
        wait_until(lambda: (gator.find(first.task_id) or first).status == SUCCESS)
    # it was started twice, but the first time it was stopped with its lease
    assert gates.current.ran.count("under the old lease") == 1
    after = gator.find(first.task_id)
    assert before is not None
    assert after is not None
    assert before.worker_id != after.worker_id
    assert (after.status_name, after.attempts, after.crashes) == ("success", 2, 1)


def test_max_tasks_bounds_what_is_claimed(gator: Gator) -> None:
    gator.map(gates.quick, ["one", "two", "three"])
    assert Worker(gator, max_tasks=2).run_forever() == 0
    assert gates.current.ran == ["one", "two"]
    assert gator.len() == 1


def test_threads_run_tasks_side_by_side(gator: Gator) -> None:
    gator.task(gates.gate, "one")
    gator.task(gates.quick, "two")
    with running(Worker(gator, concurrency=2)):
        assert gates.current.entered.wait(PATIENCE)
        wait_until(lambda: gates.current.ran == ["two"])


def test_a_delayed_task_starts_without_waiting_for_the_next_poll(
    sqlite_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("LONGEST_DEAF", "LONGEST_LISTENING"):
        monkeypatch.setattr(f"alligator_sql.workers.polling.{limit}", 3600.0)
    gator = Gator(sqlite_dsn)
    worker = Worker(gator, nap_time=40 * 3600.0, lease=3600)  # a beat would wake it, too
    with running(worker):
        wait_until(lambda: worker._consumer is not None and worker._consumer._listening())
        task = gator.options(delay_by=1.5).task(gates.quick, "later")
        wait_until(lambda: gates.current.ran == ["later"])
    record = gator.find(task.task_id)
    gator.close()
    assert record is not None
    assert record.started_at is not None
    assert 0 <= (record.started_at - record.run_at).total_seconds() < 10


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("max_tasks", -1),
        ("concurrency", 0),
        ("grace", float("nan")),
        ("lease", 0),
        ("nap_time", "0.1"),
        ("keep_success", float("inf")),
        ("to_consume", [3]),
        ("to_consume", []),
        ("to_consume", "a,,b"),
    ],
)
def test_an_impossible_argument_is_refused(gator: Gator, argument: str, value: Any) -> None:
    with pytest.raises(InvalidOptionError):
        Worker(gator, **{argument: value})


def test_a_result_reaches_the_hook_and_an_error_the_log(
    gator: Gator, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    class Collecting(Worker):
        def result(self, result: Any) -> None:
            seen.append(result)
            raise ValueError("a bug in the subclass")

    gator.task(gates.quick, "one")
    check: Callable[[], bool] = Collecting(gator).check_and_run_task
    assert check()
    assert not check()
    assert seen == [None]
    assert "Collecting.result() failed" in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR


def test_what_the_next_incarnation_has_claimed_is_not_dropped_with_the_lease(monkeypatch) -> None:
    leases: list[Lease] = []

    class Seen(Lease):
        def __enter__(self) -> Self:
            leases.append(self)
            return super().__enter__()

    class Losing(LocalMemoryBackend):
        """Has the lease lost, and begun anew, while its worker is about to claim."""

        lost = False

        def claim(self, queues, limit, worker, settlements=(), **options):
            if limit >= 10 and not self.lost:
                self.lost = True
                leases[0]._lose(worker, "is lost as the test wants")
                wait_until(lambda: leases[0].is_held)
                worker = leases[0].worker
            return super().claim(queues, limit, worker, settlements, **options)

    monkeypatch.setattr("alligator_sql.workers.worker.Lease", Seen)
    gator = Gator("locmem://next-incarnation", backend_class=Losing)
    names = [f"task {number:03}" for number in range(300)]
    gator.map(gates.quick, names)
    Worker(gator, burst=True).run_forever()
    assert gator.backend.lost
    assert sorted(set(gates.current.ran)) == names


def test_what_a_stopping_worker_holds_unknowingly_is_taken_back_at_once(sqlite_dsn) -> None:
    class LosesAnswer(SQLBackend):
        """Claims, and then the answer gets lost while the worker is told to stop."""

        def claim(self, *arguments, **options):
            super().claim(*arguments, **options)
            worker.stop()
            raise StoreUnavailableError("the answer is lost")

    other = Gator(sqlite_dsn)
    other.store.rescue(3)  # looks for tasks without a worker, too; not again for minutes
    gator = Gator(sqlite_dsn, backend_class=LosesAnswer)
    gator.task(gates.quick, "held")
    worker = Worker(gator)
    assert worker.run_forever() == 0
    assert len(other.store.rescue(3)) == 1
    other.close()
    gator.close()


def test_a_store_that_goes_away_while_the_worker_starts_does_not_end_it(sqlite_dsn) -> None:
    class GoesAway(SQLBackend):
        """Begins the first lease, and then the answer gets lost."""

        lost = False

        def heartbeat(self, worker, *, first=False):
            renewed = super().heartbeat(worker, first=first)
            if not self.lost:
                self.lost = True
                raise StoreUnavailableError("the server restarts")
            return renewed

    gator = Gator(sqlite_dsn, backend_class=GoesAway)
    gator.task(gates.quick, "late")
    worker = Worker(gator)
    with running(worker):
        wait_until(lambda: gates.current.ran == ["late"])
    gator.close()
