"""The worker of Alligator 1.0."""

import inspect
import logging
import os
from typing import Any

import pytest

from alligator_sql import ALL, FAILED, Gator, Worker

from . import tasks


class TalkingWorker(Worker):
    """Overrides all that may be overridden."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: list[Any] = []

    def ident(self) -> str:
        return "Talker"

    def starting(self) -> None:
        super().starting()
        self.said.append("starting")

    def interrupt(self) -> None:
        super().interrupt()
        self.said.append("interrupt")

    def stopping(self) -> None:
        super().stopping()
        self.said.append("stopping")

    def result(self, result: Any) -> None:
        self.said.append(result)


class ClumsyWorker(Worker):
    def result(self, result: Any) -> None:
        raise ZeroDivisionError(result)


def test_its_parameters_keep_their_order_and_defaults() -> None:
    parameters = inspect.signature(Worker).parameters
    positional = {
        parameter.name: parameter.default
        for parameter in parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    del positional["gator"]
    assert list(positional.items()) == [
        ("max_tasks", 0),
        ("to_consume", ALL),
        ("nap_time", 0.1),
        ("log_level", logging.INFO),
    ]


def test_max_tasks_leaves_the_rest(gator: Gator, journal: list[Any]) -> None:
    for number in range(3):
        gator.task(tasks.note, number)
    worker = Worker(gator, max_tasks=2)
    assert worker.run_forever() == 0
    assert journal == [0, 1]
    assert gator.len() == 1
    assert worker.tasks_complete == 2


def test_a_failed_task_counts_too(gator: Gator, journal: list[Any]) -> None:
    gator.task(tasks.fail)
    gator.task(tasks.note, "next")
    Worker(gator, max_tasks=2).run_forever()
    assert journal == ["no", "next"]


def test_check_and_run_task_runs_exactly_one(gator: Gator, journal: list[Any]) -> None:
    gator.task(tasks.note, 1)
    gator.task(tasks.note, 2)
    worker = Worker(gator)
    assert worker.check_and_run_task() is True
    assert journal == [1]
    assert worker.tasks_complete == 1
    assert worker.check_and_run_task() is True
    assert worker.check_and_run_task() is False
    assert journal == [1, 2]


def test_check_and_run_task_logs_errors(
    gator: Gator, journal: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = gator.task(tasks.fail, "broken")
    assert Worker(gator).check_and_run_task() is True
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "tests.compat.tasks:fail" in record.getMessage()
    assert "broken" in record.getMessage()
    assert record.exc_info is not None
    ended = gator.find(task.task_id)
    assert ended is not None
    assert ended.status == FAILED


def test_ident_has_the_process_id(gator: Gator) -> None:
    assert Worker(gator).ident() == f"Alligator Worker (#{os.getpid()})"


def test_a_subclass_is_asked_at_every_turn(gator: Gator, caplog: pytest.LogCaptureFixture) -> None:
    gator.task(tasks.add, 1, 2)
    gator.task(tasks.add, 3, 4)
    worker = TalkingWorker(gator, max_tasks=2)
    worker.run_forever()
    assert worker.said == ["starting", 3, 7, "stopping"]
    assert not worker.keep_running
    assert "Talker stopped after 2 tasks" in caplog.text


def test_ctrl_c_finishes_what_runs(gator: Gator, journal: list[Any]) -> None:
    gator.task(tasks.press_ctrl_c)
    worker = TalkingWorker(gator)
    assert worker.run_forever() == 0
    assert sorted(worker.said[1:-1]) == ["finished", "interrupt"]
    assert (worker.said[0], worker.said[-1]) == ("starting", "stopping")


def test_a_result_that_cannot_be_received_does_not_end_the_worker(
    gator: Gator, caplog: pytest.LogCaptureFixture
) -> None:
    gator.task(tasks.add, 1, 2)
    gator.task(tasks.add, 3, 4)
    worker = ClumsyWorker(gator, max_tasks=2)
    worker.run_forever()
    assert worker.tasks_complete == 2
    assert caplog.text.count("ClumsyWorker.result() failed") == 2


@pytest.mark.parametrize("log_level", [logging.ERROR, "error"])
def test_log_level_is_honoured(
    gator: Gator, caplog: pytest.LogCaptureFixture, log_level: Any
) -> None:
    gator.task(tasks.fail)
    Worker(gator, log_level=log_level, burst=True).run_forever()
    records = [record for record in caplog.records if record.name == "alligator_sql.worker"]
    assert [record.levelno for record in records] == [logging.ERROR]


def test_one_worker_may_run_twice(gator: Gator, journal: list[Any]) -> None:
    worker = Worker(gator, burst=True)
    gator.task(tasks.note, 1)
    worker.run_forever()
    gator.task(tasks.note, 2)
    worker.run_forever()
    assert journal == [1, 2]
    assert worker.tasks_complete == 2


def test_a_burst_includes_what_its_tasks_enqueue(
    gator: Gator, conn_string: str, journal: list[Any]
) -> None:
    gator.task(tasks.chain, conn_string, 20)
    Worker(gator, burst=True).run_forever()
    assert journal == list(range(20, 0, -1))


def test_a_burst_includes_retries_that_are_due(gator: Gator, journal: list[Any]) -> None:
    gator.options(retries=20, backoff=0).task(tasks.fail_at_first, 20)
    Worker(gator, burst=True).run_forever()
    assert len(journal) == 21
