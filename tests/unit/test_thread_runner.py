"""The runner of threads, by itself."""

import threading
from uuid import uuid4

import pytest

from alligator_sql.context import TaskContext
from alligator_sql.exceptions import TaskTimeout
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Outcome, Succeeded
from alligator_sql.workers.runners import base
from alligator_sql.workers.runners.thread import ThreadRunner
from tests.helpers import wait_until


def claim(func: str) -> Claim:
    return Claim(uuid4(), "all", func, "{}", 1, uuid4(), 1, 0, 0.0)


def test_a_place_waits_for_the_thread_that_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[str] = []
    let_go = threading.Event()

    def perform(claim: Claim, context: TaskContext) -> Outcome:
        started.append(claim.func)
        assert claim.func != "stuck" or let_go.wait(30)
        return Succeeded()

    def cannot(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    runner = ThreadRunner(1, TaskContext, perform, lambda *_: None)
    runner.start()
    runner.submit([claim("stuck"), claim("next")])
    wait_until(lambda: started == ["stuck"])
    monkeypatch.setattr(base, "STUCK_AFTER", 0.0)
    [context] = runner.running()
    context.interrupt(TaskTimeout("long over"))
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", cannot)
        assert runner.set_stuck_aside() == 1
    assert "1 threads cannot be started: can't start new thread" in caplog.text
    assert started == ["stuck"]

    assert runner.set_stuck_aside() == 1
    wait_until(lambda: started == ["stuck", "next"])
    let_go.set()
    runner.stop()
