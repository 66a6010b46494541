"""Clients with Alligator's five methods in place of a backend."""

import time
from typing import Any

import pytest

from alligator_sql import Gator, Unsupported, Worker

from . import tasks
from .clients import EarlyClient, ListClient, NumberingClient


class ListGator(Gator):
    """Knows a scheme of its own."""

    def build_backend(self, conn_string: str) -> Any:
        if conn_string.startswith("list://"):
            return ListClient(conn_string)
        return super().build_backend(conn_string)


@pytest.fixture
def listed() -> Gator:
    return Gator("list://somewhere", backend_class=ListClient)


def test_it_is_called_with_the_connection_string(listed: Gator) -> None:
    assert isinstance(listed.backend, ListClient)
    assert listed.backend.conn_string == "list://somewhere"
    assert listed.backend_class is ListClient


def test_tasks_go_through_it(listed: Gator, journal: list[Any]) -> None:
    for number in range(5):
        listed.task(tasks.note, number)
    assert listed.len() == listed.backend.len("all") == 5
    Worker(listed, burst=True).run_forever()
    assert journal == [0, 1, 2, 3, 4]
    assert listed.len() == 0


def test_pop_get_and_cancel(listed: Gator) -> None:
    first, second, third = (listed.task(tasks.add, number, 0) for number in (1, 2, 3))
    assert listed.get(second.task_id) == 2
    assert listed.get(second.task_id) is None
    canceled = listed.cancel(third.task_id)
    assert canceled is not None
    assert canceled.func_args == (3, 0)
    assert listed.cancel(third.task_id) is None
    assert listed.pop() == 1
    assert listed.pop() is None
    assert first.task_id != second.task_id


def test_a_delay_reaches_push(listed: Gator, journal: list[Any]) -> None:
    task = listed.options(delay_by=300).task(tasks.add, 1, 2)
    [(task_id, _, due)] = listed.backend.queues["all"]
    assert task_id == task.task_id
    assert due == pytest.approx(time.time() + 300, abs=5)
    assert listed.pop() is None
    listed.options(delay_until=due + 1).task(tasks.add, 1, 2)
    assert listed.backend.queues["all"][1][2] == due + 1


def test_a_retry_is_pushed_again_under_its_id(listed: Gator, journal: list[Any]) -> None:
    task = listed.options(retries=1, backoff=60).task(tasks.fail)
    assert listed.pop() is None
    [(task_id, _, due)] = listed.backend.queues["all"]
    assert task_id == task.task_id
    assert due == pytest.approx(time.time() + 60, abs=5)


def test_a_push_without_delay_until_serves_all_but_delays(journal: list[Any]) -> None:
    gator = Gator("early://", backend_class=EarlyClient)
    gator.options(retries=1).task(tasks.fail_at_first, 1)
    Worker(gator, burst=True).run_forever()
    assert journal == ["attempt"] * 2
    with pytest.raises(Unsupported, match="delay_by"):
        gator.options(delay_by=60).task(tasks.add, 1, 2)
    assert gator.len() == 0


def test_the_id_that_push_returns_is_the_id_of_the_task() -> None:
    gator = Gator("numbered://", backend_class=NumberingClient)
    task = gator.task(tasks.add, 1, 2)
    assert task.task_id == "message-1"
    assert gator.get("message-1") == 3


def test_what_it_cannot_do_is_refused(listed: Gator) -> None:
    with pytest.raises(Unsupported, match=r"'priority'.*PostgreSQL, SQLite"):
        listed.options(priority=1).task(tasks.add, 1, 2)
    with pytest.raises(Unsupported, match="find a task"):
        listed.find("any")
    with pytest.raises(Unsupported, match=r"join a transaction.*SQLite"):
        listed.using(object())
    assert listed.len() == 0


def test_build_backend_may_be_overridden(journal: list[Any]) -> None:
    gator = ListGator("list://")
    assert isinstance(gator.backend, ListClient)
    gator.task(tasks.note, "listed")
    Worker(gator, max_tasks=1).run_forever()
    assert journal == ["listed"]
    assert ListGator("locmem://other").task(tasks.add, 1, 2).func is tasks.add
