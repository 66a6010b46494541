"""What a running task knows of itself, and how it is told to stop."""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import (
    AlligatorException,
    Interrupted,
    InvalidOptionError,
    LeaseLost,
    NoTaskError,
    Snooze,
    TaskCanceled,
    TaskContext,
    TaskTimeout,
    Unsupported,
    WorkerStopping,
    current_task,
    threadstops,
)
from alligator_sql.context import LONGEST_MESSAGE
from alligator_sql.ids import new_id
from alligator_sql.messages import Claim, Progress
from tests.helpers import PATIENCE, Background


@pytest.fixture
def claim() -> Claim:
    return Claim(new_id(), "mail", "any:name", "", 7, uuid4(), attempts=3, crashes=1, age=0.0)


def test_no_task_runs_here() -> None:
    with pytest.raises(NoTaskError, match=r"current_task\(\) is for functions that run as tasks"):
        current_task()


def test_it_is_current_inside_its_block_only(claim: Claim) -> None:
    context = TaskContext(claim)
    with context.current():
        assert current_task() is context
        with TaskContext().current():
            assert current_task() is not context
        assert current_task() is context
    with pytest.raises(NoTaskError):
        current_task()


def test_it_tells_about_the_attempt(claim: Claim) -> None:
    context = TaskContext(claim)
    assert (context.id, context.attempt, context.lease) == (str(claim.id), 3, 7)
    assert context.worker == claim.worker
    assert (context.deadline, context.remaining, context.should_stop) == (None, None, False)


def test_it_is_known_by_the_id_that_users_gave(claim: Claim) -> None:
    context = TaskContext(claim)
    context.begin("invoice-42", None)
    assert context.id == "invoice-42"


def test_the_first_reason_to_stop_stays() -> None:
    context = TaskContext()
    first, second = TaskCanceled("first"), WorkerStopping("second")
    assert context.interrupt(first)
    assert not context.interrupt(second)
    assert context.should_stop
    assert context.interruption is first


def test_waiting_ends_when_the_task_has_to_stop() -> None:
    context = TaskContext()
    assert not context.wait(0)
    waiting = Background(lambda: context.wait(PATIENCE))
    context.interrupt(WorkerStopping("enough"))
    assert waiting.result() is True
    assert context.wait(PATIENCE)


def test_whoever_stops_it_later_learns_that_it_has_to_stop() -> None:
    context, heard = TaskContext(), list[Interrupted]()
    why = TaskCanceled("no more")
    context.interrupt(why)
    with context.stopped_by(heard.append):
        assert heard == [why]


def test_nobody_is_told_after_the_block() -> None:
    context, outer, inner = TaskContext(), list[Interrupted](), list[Interrupted]()
    why = TaskCanceled("no more")
    with context.stopped_by(outer.append):
        with context.stopped_by(inner.append):
            pass
        context.interrupt(why)
    assert (outer, inner) == ([why], [])


def test_its_time_runs_out() -> None:
    context, told = TaskContext(), threading.Event()
    with context.stopped_by(lambda _why: told.set()):
        context.begin("slow", 0.01)
        assert context.deadline is not None
        assert told.wait(PATIENCE)
    assert isinstance(context.interruption, TaskTimeout)
    assert str(context.interruption) == "ran longer than its timeout of 0.01 s"
    assert context.remaining == 0


def test_what_has_ended_does_not_run_out_of_time() -> None:
    context = TaskContext()
    context.begin("quick", 1.0)
    context.end()
    later = TaskContext()
    later.begin("slow", 1.1)
    assert later.wait(PATIENCE)
    assert context.interruption is None


def test_snoozing_ends_the_function() -> None:
    with pytest.raises(Snooze) as caught:
        TaskContext().snooze(60)
    assert caught.value.delay == 60


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon", None])
def test_a_snooze_of_no_length(delay: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"delay=.*seconds"):
        TaskContext().snooze(delay)


def test_the_last_progress_is_kept(claim: Claim) -> None:
    context = TaskContext(claim, reports=True)
    context.progress(12, "reading")
    context.progress(40.5, "x" * 300)
    assert context.said == Progress(40.5, "x" * LONGEST_MESSAGE)


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), "half", None])
def test_progress_that_is_none(claim: Claim, percent: Any) -> None:
    with pytest.raises(InvalidOptionError, match="a number from 0 to 100"):
        TaskContext(claim, reports=True).progress(percent)


def test_progress_that_nobody_keeps(claim: Claim) -> None:
    with pytest.raises(Unsupported, match="cannot keep the progress"):
        TaskContext(claim).progress(1)


def test_a_call_without_a_store_may_tell_its_progress() -> None:
    TaskContext().progress(1)


def test_completing_what_no_transaction_can_hold(claim: Claim) -> None:
    with pytest.raises(Unsupported, match="can join a transaction: PostgreSQL"):
        TaskContext(claim).complete(object())


class Store:
    """Says that a completion has counted, or not."""

    def __init__(self, *, applied: bool) -> None:
        self.applied = applied

    def complete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        return self.applied

    async def acomplete(self, claim: Claim, value: Any, seconds: float, connection: Any) -> bool:
        return self.applied


def test_a_completion_that_does_not_count_is_an_error(claim: Claim) -> None:
    context = TaskContext(claim, Store(applied=False))
    with pytest.raises(LeaseLost, match="held by another worker, or has ended"):
        context.complete(object())
    assert not context.completed


def test_a_completion_is_remembered(claim: Claim) -> None:
    context = TaskContext(claim, Store(applied=True))
    context.complete(object())
    assert context.completed


# Stopping a thread


def spin(started: threading.Event) -> None:
    started.set()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pass


def spinning(context: TaskContext, function: Callable[..., object] = spin) -> Background:
    started = threading.Event()
    thread = Background(lambda: threadstops.call(context, function, started))
    assert started.wait(PATIENCE)
    return thread


@pytest.mark.parametrize("why", [TaskTimeout("late"), TaskCanceled("no"), LeaseLost("gone")])
def test_a_thread_is_stopped_at_its_next_step(why: Interrupted) -> None:
    context = TaskContext()
    thread = spinning(context)
    context.interrupt(why)
    with pytest.raises(type(why)):
        thread.result()


def test_a_thread_of_a_stopping_worker_may_finish() -> None:
    def finish(started: threading.Event) -> str:
        started.set()
        context.wait(PATIENCE)
        return "in order"

    context = TaskContext()
    thread = Background(lambda: threadstops.call(context, finish, threading.Event()))
    context.interrupt(WorkerStopping("soon"))
    assert thread.result() == "in order"


def test_what_was_stopped_before_it_began_does_not_begin() -> None:
    context, began = TaskContext(), threading.Event()
    context.interrupt(TaskCanceled("no"))
    with pytest.raises(TaskCanceled):
        threadstops.call(context, spin, began)


def test_nothing_is_raised_after_the_call() -> None:
    """An interruption that comes in the last moment hits the call, or nothing at all."""
    stopped = 0
    for number in range(300):
        context = TaskContext()
        canceling = threading.Timer(0.0002 * (number % 10), context.interrupt, [TaskCanceled("x")])
        canceling.start()
        try:
            threadstops.call(context, time.sleep, 0.001)
        except AlligatorException:
            stopped += 1
        for _ in range(100):  # steps at which a late one would be raised
            pass
        canceling.join()
    assert stopped < 300
