"""The runner of coroutines, by itself."""

import asyncio
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from alligator_sql.context import TaskContext
from alligator_sql.exceptions import TaskTimeout
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Failed, Outcome, Succeeded
from alligator_sql.workers.runners import base
from alligator_sql.workers.runners.loop import LoopRunner
from tests.helpers import wait_until


def claim(func: str) -> Claim:
    return Claim(uuid4(), "all", func, "{}", 1, uuid4(), 1, 0, 0.0)


def break_if_asked(claim: Claim) -> None:
    if "broken" in claim.func:
        raise SystemExit("a bug in what runs tasks")


class Bench:
    """A runner with one place for coroutines and one thread, and what became of its tasks."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.failures: list[str] = []
        self.let_go = threading.Event()
        self.runner = LoopRunner(
            1,
            1,
            lambda claim: "plain" not in claim.func,
            TaskContext,
            self.run,
            self.arun,
            self.done,
        )
        self.runner.start()

    def run(self, claim: Claim, context: TaskContext) -> Outcome:
        self.started.append(claim.func)
        break_if_asked(claim)
        assert self.let_go.wait(30)
        return Succeeded()

    async def arun(self, claim: Claim, context: TaskContext) -> Outcome:
        self.started.append(claim.func)
        break_if_asked(claim)
        while claim.func == "stubborn" and not self.let_go.is_set():  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0.01)
        return Succeeded()

    def done(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        self.ended.append(claim.func)
        if isinstance(outcome, Failed):
            self.failures.append(outcome.failure.message)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.let_go.set()
    bench.runner.stop()


def test_another_coroutine_takes_the_place_of_one_that_does_not_end(bench, monkeypatch, caplog):
    monkeypatch.setattr(base, "STUCK_AFTER", 0.01)
    bench.runner.submit([claim("stubborn"), claim("quick")])
    wait_until(bench.runner.running)
    (context,) = bench.runner.running()
    assert bench.runner.set_stuck_aside() == 0
    assert bench.runner.waiting == 1
    context.interrupt(TaskTimeout("too long"))
    wait_until(lambda: bench.runner.set_stuck_aside() == 1)
    wait_until(lambda: bench.ended == ["quick"])
    assert bench.runner.running() == [context]
    assert "does not stop (too long)" in caplog.text
    bench.let_go.set()
    wait_until(lambda: bench.ended == ["quick", "stubborn"])
    wait_until(lambda: bench.runner.set_stuck_aside() == 0)


def test_coroutines_pass_plain_functions_that_wait(bench):
    bench.runner.submit([claim("plain"), claim("plain"), claim("quick")])
    wait_until(lambda: bench.ended == ["quick"])
    wait_until(lambda: bench.started.count("plain") == 1)
    assert bench.runner.waiting == 1
    (withdrawn,) = bench.runner.withdraw()
    assert withdrawn.func == "plain"
    assert bench.runner.waiting == 0
    bench.let_go.set()
    wait_until(lambda: sorted(bench.ended) == ["plain", "quick"])


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
def test_a_bug_of_ours_costs_no_place(bench, kind):
    """There is one place for each kind."""
    bench.let_go.set()
    bench.runner.submit([claim(f"broken {kind}"), claim(kind)])
    wait_until(lambda: bench.ended == [f"broken {kind}", kind])
    assert bench.failures == ["The task could not be run: a bug in what runs tasks"]
