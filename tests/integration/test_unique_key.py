"""``unique_key``: one live task for each key, whoever commits and whoever rolls back."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.messages import WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded
from alligator_sql.testing.conformance import message
from tests.helpers import PATIENCE, Background, wait_until

from . import callers, tasks

THREADS = 16


def enqueue_at_once(
    gator: Gator, open_caller: Callable[[], callers.Caller], key: str, commits: Any
):
    """Enqueue with one key from many threads; ``commits`` says which of them commit."""
    barrier = threading.Barrier(THREADS)

    def enqueue(number: int) -> tuple[bool, Any]:
        caller = open_caller()
        try:
            barrier.wait(PATIENCE)
            caller.start()
            view = gator.using(caller.connection).options(unique_key=key)
            task = caller.task(view, tasks.echo, number)
            if commits[number]:
                caller.commit()
            else:
                caller.rollback()
            return commits[number], task
        finally:
            caller.close()

    threads = [Background(partial(enqueue, number)) for number in range(THREADS)]
    return [thread.result() for thread in threads]


def check_one_survives(
    gator: Gator, open_caller: Callable[[], callers.Caller], observe: Callable[[str], Any]
) -> None:
    gator.open()
    draws = random.Random(7)
    rounds = [[draws.random() < share for _ in range(THREADS)] for share in (0, 1, 0.5, 0.2, 0.5)]
    for number, commits in enumerate(rounds):
        outcomes = enqueue_at_once(gator, open_caller, f"key {number}", commits)
        stored = [task for committed, task in outcomes if committed and not task.duplicate]
        assert len(stored) == (1 if any(commits) else 0)
        for committed, task in outcomes:
            if committed:
                assert task.task_id == stored[0].task_id
                assert task.func_args == stored[0].func_args
    live = sum(any(commits) for commits in rounds)
    assert observe("select count(*) from alligator_tasks") == [(live,)]
    assert observe("select count(*) from alligator_payloads") == [(live,)]


def test_one_of_many_threads_wins_on_postgresql(postgres_dsn):
    gator = Gator(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        check_one_survives(
            gator,
            lambda: callers.PsycopgCaller(postgres_dsn),
            lambda sql: connection.execute(sql).fetchall(),
        )
    gator.close()


def test_one_of_many_threads_wins_on_sqlite(sqlite_dsn):
    gator = Gator(sqlite_dsn)
    observer = callers.SQLiteCaller(sqlite_dsn)

    def open_caller() -> callers.Caller:
        caller = callers.SQLiteExplicitCaller(sqlite_dsn)
        caller.execute("pragma busy_timeout = 30000")
        return caller

    check_one_survives(gator, open_caller, observer.execute)
    observer.close()
    gator.close()


class TestTwoTransactions:
    """Two PostgreSQL transactions with one key: the second waits for the first."""

    @pytest.fixture
    def gator(self, postgres_dsn) -> Iterator[Gator]:
        gator = Gator(postgres_dsn)
        gator.open()
        yield gator
        gator.close()

    @pytest.fixture
    def first(self, postgres_dsn) -> Iterator[psycopg.Connection]:
        with psycopg.connect(postgres_dsn) as connection:
            yield connection

    @pytest.fixture
    def second(self, postgres_dsn) -> Iterator[psycopg.Connection]:
        with psycopg.connect(postgres_dsn) as connection:
            yield connection

    @pytest.fixture
    def waits_for(self, postgres_dsn) -> Iterator[Callable[..., bool]]:
        with psycopg.connect(postgres_dsn, autocommit=True) as observer:

            def waits_for(who: psycopg.Connection, whom: psycopg.Connection) -> bool:
                (blockers, event) = observer.execute(
                    "select pg_blocking_pids(pid), wait_event_type from pg_stat_activity "
                    "where pid = %s",
                    (who.info.backend_pid,),
                ).fetchone() or ([], None)
                return bool(blockers == [whom.info.backend_pid] and event == "Lock")

            yield waits_for

    def enqueue(self, gator: Gator, connection: psycopg.Connection, value: str) -> Any:
        return gator.using(connection).options(unique_key="key").task(tasks.echo, value)

    def test_the_second_stores_its_task_when_the_first_rolls_back(
        self, gator, first, second, waits_for
    ):
        assert not self.enqueue(gator, first, "first").duplicate
        waiting = Background(lambda: self.enqueue(gator, second, "second"))
        wait_until(lambda: waits_for(second, first))
        first.rollback()
        assert not waiting.result().duplicate
        second.commit()
        assert [gator.pop(), gator.pop()] == ["second", None]

    def test_the_second_gets_the_task_of_the_first_when_that_commits(
        self, gator, first, second, waits_for
    ):
        winner = self.enqueue(gator, first, "first")
        waiting = Background(lambda: self.enqueue(gator, second, "second"))
        wait_until(lambda: waits_for(second, first))
        first.commit()
        duplicate = waiting.result()
        assert (duplicate.task_id, duplicate.duplicate) == (winner.task_id, True)
        assert duplicate.func_args == ("first",)
        second.commit()
        assert [gator.pop(), gator.pop()] == ["first", None]

    def test_a_gator_on_its_own_waits_too(self, gator, first, postgres_dsn):
        self.enqueue(gator, first, "first")
        waiting = Background(lambda: gator.options(unique_key="key").task(tasks.echo, "second"))
        with psycopg.connect(postgres_dsn, autocommit=True) as observer:
            wait_until(
                lambda: observer.execute(
                    "select 1 from pg_locks where not granted and locktype = 'transactionid'"
                ).fetchall()
            )
        first.rollback()
        assert not waiting.result().duplicate
        assert gator.pop() == "second"

    def test_the_same_key_in_another_queue_does_not_wait(self, gator, first, second):
        self.enqueue(gator, first, "first")
        other = gator.using(second).options(unique_key="key", queue="other").task(tasks.echo, 1)
        assert not other.duplicate
        second.rollback()
        first.rollback()

    def test_the_same_task_id_waits_as_well(self, gator, first, second, waits_for):
        def enqueue(connection: psycopg.Connection, value: int) -> Any:
            return gator.using(connection).options(task_id="invoice 42").task(tasks.echo, value)

        enqueue(first, 1)
        waiting = Background(lambda: enqueue(second, 2))
        wait_until(lambda: waits_for(second, first))
        first.commit()
        again = waiting.result()
        assert (again.task_id, again.duplicate, again.func_args) == ("invoice 42", True, (1,))
        second.rollback()
        assert gator.len() == 1


@pytest.mark.parametrize("dsn", ["sqlite_dsn", "postgres18_dsn", "locmem"])
def test_a_running_task_keeps_its_key_and_an_ended_one_gives_it_back(dsn, request):
    gator = Gator("locmem://keys" if dsn == "locmem" else request.getfixturevalue(dsn))
    once = gator.options(unique_key="nightly")
    first = once.task(tasks.echo, 1)
    worker = WorkerRecord(uuid4(), "here", 1, ("all",), 30.0)
    gator.store.heartbeat(worker, first=True)
    (claim,) = gator.store.claim(["all"], 1, worker.id)
    assert once.task(tasks.echo, 2).task_id == first.task_id
    gator.store.ack([Settlement(claim, Succeeded())])
    assert not once.task(tasks.echo, 3).duplicate
    assert gator.pop() == 3
    gator.store.leave(worker.id, holds=False)
    gator.close()


@pytest.mark.parametrize("join", ["hashjoin", "mergejoin", "nestloop"])
def test_of_a_batch_the_first_wins_whatever_the_plan(postgres18_dsn, join):
    others = {"hashjoin", "mergejoin", "nestloop"} - {join}
    settings = quote(" ".join(f"-c enable_{other}=off" for other in sorted(others)))
    with closing(Gator(f"{postgres18_dsn}&options={settings}")) as gator:
        messages = [message("all", unique_key="a") for _ in range(20)]
        receipts = gator.store.enqueue(messages)
        assert [receipt.duplicate for receipt in receipts] == [False] + [True] * 19
