"""From a claim to an outcome, without any store."""

import json
import logging
import time
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import RETRYING, Task
from alligator_sql.callables import Policy
from alligator_sql.context import TaskContext
from alligator_sql.execution import UNROUTABLE_GIVE_UP, attempt, clean, perform
from alligator_sql.ids import new_id
from alligator_sql.messages import Claim
from alligator_sql.outcomes import Failed, Outcome, Retry, Snoozed, Succeeded

from . import functions


def claim_of(payload: str | bytes | None, **changes: Any) -> Claim:
    values: dict[str, Any] = {
        "id": new_id(),
        "queue": "mail",
        "func": "any:name",
        "payload": payload,
        "lease": 1,
        "worker": uuid4(),
        "attempts": 1,
        "crashes": 0,
        "age": 0.0,
    }
    return Claim(**(values | changes))


def stored(func: Any, *args: Any, **options: Any) -> str | bytes:
    task = Task(**options)
    task.to_call(func, *args)
    return task.serialize()


def run(payload: str | bytes | None, **changes: Any) -> Outcome:
    return run_claim(claim_of(payload, **changes))


def run_claim(claim: Claim, task_class: type[Task] = Task, policy: Policy | None = None) -> Outcome:
    return perform(claim, task_class, policy or Policy(), TaskContext(claim))


def test_a_task_that_succeeds() -> None:
    assert run(stored(functions.add, 1, 2)) == Succeeded(3)


def test_a_result_that_is_kept() -> None:
    outcome = run(stored(functions.add, 1, 2, keep_result=True))
    assert outcome == Succeeded(3, "3")
    assert isinstance(outcome, Succeeded)
    assert outcome.kept


def test_none_is_kept_as_a_result() -> None:
    outcome = run(stored(functions.echo, keep_result=True))
    assert outcome == Succeeded(None, "null")


def test_an_async_task_is_awaited() -> None:
    assert run(stored(functions.add_later, 1, 2)) == Succeeded(3)


def test_a_task_that_fails_for_good() -> None:
    outcome = run(stored(functions.fail, "broken"))
    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.message) == ("ValueError", "broken")
    assert "raise ValueError(message)" in outcome.failure.traceback
    assert isinstance(outcome.exception, ValueError)
    assert outcome.started


def test_a_task_that_is_to_be_retried_has_one_retry_less() -> None:
    outcome = run(stored(functions.fail, "broken", retries=2, backoff=7, task_id="t"))
    assert isinstance(outcome, Retry)
    assert outcome.delay == 7
    assert outcome.failure.message == "broken"
    again = Task.deserialize(outcome.payload)
    assert (again.task_id, again.retries, again.backoff) == ("t", 1, 7)


def test_the_delay_follows_the_failures_and_not_the_crashes() -> None:
    payload = stored(functions.fail, retries=9, backoff=[1, 2, 3, 4])
    outcome = run(payload, attempts=5, crashes=2)
    assert isinstance(outcome, Retry)
    assert outcome.delay == 3


def test_the_task_says_that_it_is_retrying() -> None:
    task = Task(retries=1)
    task.to_call(functions.fail)
    assert isinstance(attempt(task, 1, TaskContext()), Retry)
    assert task.status == RETRYING


def test_hooks_see_the_queue() -> None:
    functions.journal.clear()
    payload = stored(functions.add, 1, on_start=note_queue)
    run(payload)
    assert functions.journal == ["mail"]


def note_queue(task: Task) -> None:
    functions.journal.append(task.queue)


def test_a_lost_payload() -> None:
    outcome = run(None)
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "The stored payload is gone."
    assert not outcome.started


def test_an_expired_task_is_not_started(journal: list[Any]) -> None:
    received = time.monotonic() - 10
    outcome = run(stored(functions.echo, 1), expires_in=5.0, received=received)
    assert isinstance(outcome, Failed)
    assert outcome.failure.reason == "expired"
    assert not outcome.started
    assert journal == []


def test_a_task_that_is_not_yet_expired_is_started(journal: list[Any]) -> None:
    assert run(stored(functions.echo, 1), expires_in=60.0) == Succeeded(1)


def test_an_unknown_module_is_put_back(caplog: pytest.LogCaptureFixture) -> None:
    outcome = run(json.dumps({"task_id": "t", "func": "nowhere:work"}))
    assert isinstance(outcome, Snoozed)
    assert 4 <= outcome.delay <= 6
    assert "unroutable task" in caplog.text


@pytest.mark.parametrize(
    ("age", "shortest", "longest"), [(0, 4, 6), (60, 48, 72), (3600, 240, 360)]
)
def test_it_is_looked_at_less_and_less_often(age: float, shortest: float, longest: float) -> None:
    outcome = run(json.dumps({"task_id": "t", "func": "nowhere:work"}), age=age)
    assert isinstance(outcome, Snoozed)
    assert shortest <= outcome.delay <= longest


def test_after_a_day_it_fails() -> None:
    data = json.dumps({"task_id": "t", "func": "nowhere:work"})
    outcome = run(data, age=UNROUTABLE_GIVE_UP)
    assert isinstance(outcome, Failed)
    assert outcome.failure.reason == "unroutable"
    assert not outcome.started


def test_a_forbidden_function_fails_at_once(caplog: pytest.LogCaptureFixture) -> None:
    outcome = run(json.dumps({"task_id": "t", "func": "os:system", "args": ["true"]}))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind == "ForbiddenCallableError"
    assert not outcome.started
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


class BrokenTask(Task):
    """Cannot be written again once it was read."""

    def serialize(self) -> str:
        raise OSError("no space")


def test_a_task_class_that_cannot_store_a_retry() -> None:
    outcome = run_claim(claim_of(stored(functions.fail, retries=3)), BrokenTask)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.message) == ("OSError", "no space")


def test_clean_makes_texts_that_every_store_can_hold() -> None:
    assert clean("a\x00b\ud800c 🐊") == "a\\x00b\\ud800c 🐊"
    assert clean("x" * 100_000) == "x" * 65_536 + " [cut]"


def test_a_coroutine_that_exits_fails_alone() -> None:
    outcome = run(stored(functions.exit_later, 3))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind == "SystemExit"
    assert run(stored(functions.add_later, 1, 2)) == Succeeded(3)


def test_a_coroutine_cannot_wait_for_its_own_loop() -> None:
    outcome = run(stored(functions.start_another))
    assert isinstance(outcome, Failed)
    assert "cannot run another one" in outcome.failure.message


def test_a_hook_that_exits_after_success_changes_nothing() -> None:
    stored_task = stored(functions.add, 1, 2, on_success=functions.exit_after_success)
    assert run(stored_task) == Succeeded(3)


class ExitingTask(Task):
    @classmethod
    def deserialize(cls, data: str | bytes) -> Any:
        raise SystemExit("cannot be loaded")


def test_a_task_class_that_exits_fails_the_task() -> None:
    outcome = run_claim(claim_of("{}"), ExitingTask)
    assert isinstance(outcome, Failed)
    assert not outcome.started


def test_a_retry_is_stored_under_the_policy_that_allowed_the_task() -> None:
    policy = Policy(allow=["json"])
    with policy.active():
        payload = stored(json.loads, "no JSON", retries=1)
    assert isinstance(run_claim(claim_of(payload), policy=policy), Retry)


def test_passwords_in_an_error_are_masked() -> None:
    assert clean("no postgresql://me:secret@host/db, bob@example.com") == (
        "no postgresql://me:***@host/db, bob@example.com"
    )
