"""A child process is used for the next task only when nothing is left of the last one."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from alligator_sql import Gator
from alligator_sql.context import TaskContext
from alligator_sql.exceptions import TaskTimeout
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Failed, Outcome, Succeeded
from alligator_sql.workers.runners.process import Child, ChildLimits, process_runner
from alligator_sql.workers.runners.thread import ThreadRunner
from tests.helpers import wait_until

from . import functions
from .test_execution import claim_of, stored


class InterruptedAtTheEnd(TaskContext):
    """That of a task whose time is over when it has just said what became of it."""

    def end(self) -> None:
        self.interrupt(TaskTimeout("at the last moment"))
        super().end()


class Bench:
    """A runner with one child, and what became of its tasks."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.runner: ThreadRunner = process_runner(
            Gator("locmem://"),
            1,
            ChildLimits(),
            logging.INFO,
            self.context,
            lambda _claim, outcome, _seconds: self.outcomes.append(outcome),
            lambda _claim: None,
        )
        self.runner.start()

    def context(self, claim: Claim) -> TaskContext:
        return InterruptedAtTheEnd(claim) if claim.func == "late" else TaskContext(claim)

    def run(self, *claims: Claim) -> list[Outcome]:
        self.outcomes.clear()
        self.runner.submit(list(claims))
        wait_until(lambda: len(self.outcomes) == len(claims))
        return self.outcomes


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.runner.stop()


def test_one_that_was_killed_at_the_end_of_its_task_gets_no_other(bench: Bench) -> None:
    late = claim_of(stored(functions.add, 1, 2), func="late")
    outcomes = bench.run(late, claim_of(stored(functions.add, 3, 4)))
    assert outcomes == [Succeeded(3), Succeeded(7)]


def test_a_task_is_not_lost_with_one_whose_death_has_not_shown_yet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Child, "is_worn", lambda child, _limits: not child._is_alive)
    [before] = bench.run(claim_of(stored(functions.process_id)))
    assert isinstance(before, Succeeded)
    os.kill(before.value, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{before.value}").exists())
    [after] = bench.run(claim_of(stored(functions.process_id)))
    assert isinstance(after, Succeeded)
    assert after.value != before.value


def test_a_task_that_no_child_survives_has_failed(bench: Bench) -> None:
    deadly = str(stored(functions.add, 1, 2)).replace("functions", "deadly")
    first, second = bench.run(claim_of(stored(functions.add, 1, 2)), claim_of(deadly))
    assert first == Succeeded(3)
    assert isinstance(second, Failed)
    assert "exit code 3" in second.failure.message


def test_a_value_that_cannot_be_encoded_does_not_end_it(bench: Bench) -> None:
    assert bench.run(claim_of(stored(functions.odd_mapping))) == [Succeeded(None)]


def test_one_whose_words_could_not_be_heard_gets_no_other(bench: Bench) -> None:
    def refuse(_record: logging.LogRecord) -> bool:
        raise AttributeError("a filter that expects what records of children do not have")

    log = logging.getLogger(functions.__name__)
    log.addFilter(refuse)
    try:
        outcomes = bench.run(
            claim_of(stored(functions.say, "a word")), claim_of(stored(functions.add, 3, 4))
        )
    finally:
        log.removeFilter(refuse)
    assert isinstance(outcomes[0], Failed)
    assert outcomes[1] == Succeeded(7)
