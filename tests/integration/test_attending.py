"""What passes between the store and tasks that run: cancellations and progress."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

import pytest

from alligator_sql import Gator, TaskCanceled, Worker, current_task
from alligator_sql.messages import TaskRecord
from alligator_sql.workers.consumer import Consumer
from tests.helpers import PATIENCE, wait_until


class Scene:
    """What the tasks of one test share with it."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.seen: list[str] = []


scene = Scene()


@pytest.fixture(autouse=True)
def _new_scene() -> Iterator[None]:
    global scene
    scene = Scene()
    yield
    scene.go_on.set()


def loop() -> None:
    """Compute, in a function of its own.

    In CPython 3.13 the jump back of a loop at the end of a ``try`` is not part of it, and that is
    where an exception from another thread arrives.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pass


def spin() -> None:
    try:
        scene.began.set()
        loop()
    except TaskCanceled:
        scene.seen.append("canceled")
        raise


async def sleep() -> None:
    scene.began.set()
    try:
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        scene.seen.append("canceled")
        raise


def ends_well_all_the_same() -> None:
    with suppress(TaskCanceled):
        spin()


def fail_at_first() -> None:
    scene.seen.append("ran")
    scene.began.set()
    scene.go_on.wait(PATIENCE)
    if len(scene.seen) == 1:
        raise ValueError("at first")


def snooze_all_the_same() -> None:
    with suppress(TaskCanceled):
        spin()
    current_task().snooze(0)


def tell_progress() -> None:
    current_task().progress(25, "a quarter")
    scene.began.set()
    scene.go_on.wait(PATIENCE)


@pytest.fixture(params=["locmem", "sqlite", "postgresql", "redis"])
def gator(request: pytest.FixtureRequest) -> Gator:
    match request.param:
        case "locmem":
            return Gator(f"locmem://{uuid4()}")
        case "sqlite":
            return Gator(request.getfixturevalue("sqlite_dsn"))
        case "postgresql":
            return Gator(request.getfixturevalue("postgres18_dsn"))
    return Gator(request.getfixturevalue("own_redis_server").dsn())


@contextmanager
def working(gator: Gator, executor: str = "threads") -> Iterator[None]:
    """Let a worker run, with a beat short enough to wait for and a lease long enough to keep."""
    worker = Worker(gator, executor=executor, lease=9, concurrency=2)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(worker.run_forever)
        try:
            yield
        finally:
            scene.go_on.set()
            worker.stop()
            assert ended.result(PATIENCE) == 0
            gator.close()


def found(gator: Gator, task_id: str) -> TaskRecord:
    record = gator.find(task_id)
    assert record is not None
    return record


def wait_for_end(gator: Gator, task_id: str) -> TaskRecord:
    wait_until(lambda: found(gator, task_id).finished_at)
    return found(gator, task_id)


@pytest.mark.parametrize(
    ("func", "executor"), [(spin, "threads"), (sleep, "threads"), (sleep, "asyncio")]
)
def test_a_running_task_is_canceled(
    gator: Gator, func: Callable[..., object], executor: str
) -> None:
    with working(gator, executor):
        task = gator.options(retries=3).task(func)
        assert scene.began.wait(PATIENCE)
        canceled = gator.cancel(task.task_id)
        assert canceled is not None
        assert canceled.task_id == task.task_id
        record = wait_for_end(gator, task.task_id)
    assert (record.status_name, record.reason) == ("canceled", "canceled")
    assert scene.seen == ["canceled"]


@pytest.mark.parametrize(
    ("func", "status"), [(ends_well_all_the_same, "success"), (snooze_all_the_same, "canceled")]
)
def test_a_task_may_end_otherwise_but_not_live_on(
    gator: Gator, func: Callable[..., object], status: str
) -> None:
    with working(gator):
        task = gator.options(retries=3).task(func)
        assert scene.began.wait(PATIENCE)
        gator.cancel(task.task_id)
        assert wait_for_end(gator, task.task_id).status_name == status
    assert scene.seen == ["canceled"]


def test_what_has_ended_is_not_canceled(gator: Gator) -> None:
    with working(gator):
        task = gator.task(tell_progress)
        scene.go_on.set()
        assert wait_for_end(gator, task.task_id).status_name == "success"
        assert gator.cancel(task.task_id) is None


def test_a_cancellation_that_came_too_late_is_not_for_the_next_try(monkeypatch) -> None:
    told = threading.Event()
    cancel = Consumer.cancel

    def cancel_late(consumer: Consumer, canceled: Collection[UUID]) -> None:
        scene.go_on.set()
        wait_until(lambda: not consumer.held())
        cancel(consumer, canceled)
        told.set()

    monkeypatch.setattr(Consumer, "cancel", cancel_late)
    gator = Gator(f"locmem://{uuid4()}")
    with working(gator):
        task = gator.task(fail_at_first)
        assert scene.began.wait(PATIENCE)
        gator.cancel(task.task_id)
        assert told.wait(PATIENCE)
        assert gator.retry(task.task_id)
        assert wait_for_end(gator, task.task_id).status_name == "success"
    assert scene.seen == ["ran", "ran"]


def test_progress_can_be_found_while_the_task_runs(gator: Gator) -> None:
    with working(gator):
        task = gator.task(tell_progress)
        assert scene.began.wait(PATIENCE)
        wait_until(lambda: found(gator, task.task_id).progress)
        progress = found(gator, task.task_id).progress
        assert progress is not None
        assert (progress.percent, progress.message) == (25, "a quarter")


def test_canceling_what_waits_behind_a_running_task(gator: Gator) -> None:
    with working(gator):
        gator.task(tell_progress)
        assert scene.began.wait(PATIENCE)
        waiting = gator.options(delay_by=3600).task(spin)
        assert gator.cancel(waiting.task_id) is not None
        assert found(gator, waiting.task_id).status_name == "canceled"
