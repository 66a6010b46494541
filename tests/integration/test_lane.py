"""Single tasks on PostgreSQL take a session of their own, as long as nobody else is on it."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from alligator_sql import Gator
from alligator_sql.backends.sql import connections
from alligator_sql.backends.sql.lane import Lane

from . import tasks

OFTEN = 12
"""More than the five executions each after which psycopg prepares and PostgreSQL plans for good."""


@pytest.fixture
def gator(postgres18_dsn) -> Iterator[Gator]:
    with closing(Gator(postgres18_dsn)) as gator:
        gator.open()
        yield gator


@pytest.fixture
def lane(gator) -> Lane:
    lane: Lane = gator.store._lane
    return lane


def session_on(lane: Lane) -> Any:
    [session] = lane._idle
    return session


def test_its_plan_is_kept(gator, lane):
    for number in range(OFTEN):
        gator.task(tasks.echo, number)
    prepared = session_on(lane).execute(
        "select generic_plans, custom_plans from pg_prepared_statements "
        "where statement like '%alligator_tasks%'"
    )
    [(generic, custom)] = prepared.fetchall()
    assert generic > 0
    assert custom == 0
    assert [gator.pop() for _ in range(OFTEN)] == list(range(OFTEN))


def test_only_single_tasks_without_a_key_take_it(gator, lane):
    with gator.options(unique_key="one") as options:
        options.task(tasks.echo, 1)
    gator.map(tasks.echo, range(2))
    assert lane._idle == []
    gator.task(tasks.echo, 2)
    assert session_on(lane)


def test_a_known_task_is_found(gator, lane):
    with gator.options(task_id="the same") as options:
        first, second = options.task(tasks.echo, 1), options.task(tasks.echo, 1)
    assert (first.duplicate, second.duplicate) == (False, True)
    assert session_on(lane)
    assert gator.len() == 1


def test_who_finds_it_in_use_takes_another_way(gator, lane):
    gator.task(tasks.echo, "before")
    session = session_on(lane)
    with lane._in_use:
        session.close()  # so nobody else can use it
        gator.task(tasks.echo, "meanwhile")
        assert lane._idle == [session]
    gator.task(tasks.echo, "after")
    assert session_on(lane) is not session
    assert [gator.pop() for _ in range(3)] == ["before", "meanwhile", "after"]


def test_a_session_that_the_server_has_closed_is_replaced(gator, lane, postgres18_dsn, monkeypatch):
    monkeypatch.setattr(connections, "ATTEMPTS", 1)
    gator.task(tasks.echo, 1)
    lost = session_on(lane)
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(%s, 5000)", (lost.info.backend_pid,))
    gator.task(tasks.echo, 2)
    assert lost.closed
    gator.task(tasks.echo, 3)
    assert session_on(lane) is not lost
    assert [gator.pop() for _ in range(4)] == [1, 2, 3, None]


def test_an_interrupted_one_is_closed(gator, lane):
    gator.task(tasks.echo, 1)
    interrupted = session_on(lane)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    interrupted.execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        gator.task(tasks.echo, 2)
    assert interrupted.closed
    assert lane._idle == []
    gator.task(tasks.echo, 3)
    assert [gator.pop() for _ in range(3)] == [1, 3, None]


def test_a_child_process_has_its_own(gator, lane):
    gator.task(tasks.echo, "parent")
    session = session_on(lane)
    child = os.fork()
    if not child:
        code = 1
        try:
            gator.task(tasks.echo, "child")
            code = 0 if session_on(lane) is not session else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gator.task(tasks.echo, "parent again")
    assert session_on(lane) is session
    assert [gator.pop() for _ in range(3)] == ["parent", "child", "parent again"]


def test_closing_the_gator_closes_it(gator, lane):
    gator.task(tasks.echo, 1)
    session = session_on(lane)
    gator.close()
    assert session.closed


def test_one_that_is_in_use_meanwhile_is_closed_after_that(gator, lane):
    gator.task(tasks.echo, 1)
    session = session_on(lane)
    lane.use(lambda _: gator.close())
    assert session.closed
    assert lane._idle == []
