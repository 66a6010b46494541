"""The tutorial of Alligator 1.0, step by step."""

import time
from typing import Any

import pytest

from alligator_sql import DELAYED, Gator, Worker

from . import sosocial, tasks
from .sosocial import send_post_email


@pytest.fixture
def outbox() -> list[tuple[str, str, list[str]]]:
    sosocial.POSTS.clear()
    sosocial.OUTBOX.clear()
    return sosocial.OUTBOX


MAIL = ("A new post by daniel", "Hello!", ["ann@example.com", "bob@example.com"])


def test_a_view_enqueues_and_a_worker_sends(gator: Gator, outbox: list[Any]) -> None:
    post_id = sosocial.create_post("Hello!")
    gator.task(send_post_email, 7, post_id)
    assert outbox == []
    assert gator.len() == 1

    assert Worker(gator, max_tasks=1).run_forever() == 0
    assert outbox == [MAIL]
    assert gator.len() == 0


def test_a_worker_in_another_gator_finds_the_task(conn_string: str, outbox: list[Any]) -> None:
    in_the_view, in_run_tasks = Gator(conn_string), Gator(conn_string)
    in_the_view.task(send_post_email, 7, sosocial.create_post("Hello!"))
    Worker(in_run_tasks, max_tasks=1).run_forever()
    assert outbox == [MAIL]
    in_the_view.close()
    in_run_tasks.close()


def test_keyword_arguments_arrive(gator: Gator, outbox: list[Any]) -> None:
    gator.task(send_post_email, post_id=sosocial.create_post("Hello!"), user_id=7)
    assert gator.pop() == 2
    assert outbox == [MAIL]


def test_a_failsome_task_gets_its_retries(gator: Gator, journal: list[Any]) -> None:
    with gator.options(retries=3, backoff=0) as opts:
        opts.task(tasks.fail_at_first, 3)
    Worker(gator, burst=True).run_forever()
    assert journal == ["attempt"] * 4


def test_a_task_fails_once_its_retries_are_spent(gator: Gator, journal: list[Any]) -> None:
    with gator.options(retries=3, backoff=0) as opts:
        opts.task(tasks.fail)
    Worker(gator, burst=True).run_forever()
    assert journal == ["no"] * 4
    assert gator.len() == 0


def test_delay_by_keeps_a_task_back(gator: Gator, journal: list[Any]) -> None:
    with gator.options(delay_by=60 * 5) as opts:
        task = opts.task(tasks.note, "later")
    assert gator.pop() is None
    assert gator.len() == 1
    record = gator.find(task.task_id)
    assert record is not None
    assert record.status == DELAYED
    assert (record.run_at - record.created_at).total_seconds() == pytest.approx(300, abs=5)
    assert journal == []


def test_delay_until_takes_a_unix_timestamp(gator: Gator, journal: list[Any]) -> None:
    tomorrow = time.time() + (60 * 60 * 24)
    with gator.options(delay_until=tomorrow) as opts:
        task = opts.task(tasks.note, "tomorrow")
    assert gator.pop() is None
    record = gator.find(task.task_id)
    assert record is not None
    assert record.run_at.timestamp() == pytest.approx(tomorrow, abs=0.01)
    assert task.delay_until == tomorrow


@pytest.mark.parametrize("option", ["delay_by", "delay_until"])
def test_a_delayed_task_runs_when_it_is_due(gator: Gator, journal: list[Any], option: str) -> None:
    due = time.time() + 0.2
    gator.options(**{option: 0.2 if option == "delay_by" else due}).task(tasks.note_time)
    Worker(gator, max_tasks=1).run_forever()
    assert due - 0.01 <= journal[0] < due + 30


def test_a_moment_in_the_past_is_now(gator: Gator) -> None:
    gator.options(delay_until=time.time() - 60).task(tasks.add, 1, 2)
    assert gator.pop() == 3


def test_is_async_false_runs_at_once_and_stores_nothing(gator: Gator, outbox: list[Any]) -> None:
    with gator.options(is_async=False) as opts:
        task = opts.task(send_post_email, 7, sosocial.create_post("Hello!"))
    assert outbox == [MAIL]
    assert task.result == 2
    assert gator.len() == 0


def test_is_async_false_has_retries_and_hooks(gator: Gator, journal: list[Any]) -> None:
    with gator.options(is_async=False, retries=2, on_error=tasks.on_error) as opts:
        task = opts.task(tasks.fail_at_first, 2)
    assert task.result == "at last"
    assert [entry[0] for entry in journal if entry != "attempt"] == ["error", "error"]


def test_is_async_false_raises_what_the_task_raised(gator: Gator, journal: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^broken$"):
        gator.options(is_async=False, retries=1).task(tasks.fail, "broken")
    assert journal == ["broken", "broken"]


def test_is_async_false_takes_closures(gator: Gator) -> None:
    seen: list[Any] = []

    def see(value: Any) -> None:
        seen.append(value)

    gator.options(is_async=False).task(see, object)
    assert seen == [object]
