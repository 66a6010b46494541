"""When the workers hear of tasks that a Session has stored."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from alligator_sql import Gator
from alligator_sql.backends.sql import wakeups
from alligator_sql.backends.sql.listeners import channel_of
from alligator_sql.backends.sql.tables import Names

from . import tasks

CHANNEL = channel_of(Names(), "all")
NEWS, MARK = "", "mark"


@pytest.fixture
def engine(postgres18_dsn) -> Iterator[Engine]:
    url = postgres18_dsn.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def beside(postgres18_dsn) -> Iterator[Engine]:
    """An engine with connections of its own."""
    engine = create_engine(postgres18_dsn.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


@pytest.fixture
def gator(postgres18_dsn, monkeypatch) -> Iterator[Gator]:
    monkeypatch.setattr(wakeups, "NOTIFY_INTERVAL", 0.0)
    with closing(Gator(postgres18_dsn)) as gator:
        gator.open()
        yield gator


@pytest.fixture
def heard(postgres18_dsn) -> Iterator[Callable[[], list[str]]]:
    """What was said on the channel since the last call: a mark that is sent now comes last."""
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        connection.execute(f"listen {CHANNEL}")

        def hear() -> list[str]:
            with psycopg.connect(postgres18_dsn, autocommit=True) as other:
                other.execute("select pg_notify(%s, %s)", (CHANNEL, MARK))
            found: list[str] = []
            for notification in connection.notifies():
                if notification.payload == MARK:
                    return found
                found.append(notification.payload)
            raise AssertionError("the connection has ended")

        yield hear


def test_a_session_notifies_after_its_commit(engine, gator, heard):
    in_transaction = []

    def note(session: Session) -> None:
        in_transaction.extend(heard())

    with Session(engine) as session:
        event.listen(session, "before_commit", note)
        view = gator.using(session)
        view.task(tasks.add, 1, 2)
        view.task(tasks.add, 3, 4)
        session.commit()
        assert in_transaction == []
        assert heard() == [NEWS]
        view.task(tasks.add, 5, 6)
        session.commit()
    assert heard() == [NEWS]
    assert [gator.pop() for _ in range(3)] == [3, 7, 11]


def test_its_statement_does_not_notify(engine, beside, gator):
    """Its commit would wait for those of all other transactions that do."""
    with Session(engine) as session:
        gator.using(session).task(tasks.add, 1, 2)
        query = text("select query from pg_stat_activity where pid = :pid")
        with Session(beside) as other:
            last = other.scalar(query, {"pid": driver_of(session).info.backend_pid})
    assert "alligator_tasks" in last
    assert "pg_notify" not in last


def test_the_end_of_a_savepoint_is_no_commit(engine, gator, heard):
    with Session(engine) as session, session.begin():
        with session.begin_nested():
            gator.using(session).task(tasks.add, 1, 2)
        assert heard() == []
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            raise ZeroDivisionError
    assert heard() == [NEWS]


@pytest.mark.parametrize("end", ["rollback", "close", "reset"])
def test_nobody_hears_of_what_was_not_committed(engine, gator, heard, end):
    session = Session(engine)
    gator.using(session).task(tasks.add, 1, 2)
    getattr(session, end)()
    session.execute(text("select 1"))
    session.commit()
    assert heard() == []
    gator.using(session).task(tasks.add, 3, 4)
    session.commit()
    assert heard() == [NEWS]
    session.close()
    assert gator.pop() == 7


def test_the_connection_is_as_it_was(engine, gator, heard):
    with Session(engine) as session:
        gator.using(session).task(tasks.add, 1, 2)
        session.commit()
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert not driver.autocommit
        assert driver.info.transaction_status == TransactionStatus.IDLE
    assert heard() == [NEWS]


def test_a_lost_connection_does_not_make_the_commit_fail(engine, beside, gator, caplog):
    with Session(engine) as session:
        view = gator.using(session)
        view.task(tasks.add, 1, 2)
        with view.options(queue="other") as options:
            options.task(tasks.add, 0, 0)
        die_after_commit(driver_of(session), beside)
        session.commit()
    assert caplog.text.count("nobody was notified of new tasks") == 1
    with Session(engine) as session:
        gator.using(session).task(tasks.add, 3, 4)
        session.commit()
    assert [gator.pop(), gator.pop()] == [3, 7]


def die_after_commit(driver: Any, beside: Engine) -> None:
    commit = driver.commit

    def commit_and_die() -> None:
        commit()
        with Session(beside) as session:
            end = text("select pg_terminate_backend(:pid, 5000)")
            session.execute(end, {"pid": driver.info.backend_pid})

    driver.commit = commit_and_die


def driver_of(session: Session) -> Any:
    return session.connection().connection.driver_connection


def test_a_session_in_a_transaction_around_it_notifies_within_that(engine, gator, heard):
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            gator.using(session).task(tasks.add, 1, 2)
            session.commit()
        assert heard() == []
        outer.commit()
    assert heard() == [NEWS]


def test_a_session_that_commits_each_statement_notifies_with_it(engine, gator, heard):
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with sessionmaker(alone)() as session:
        gator.using(session).task(tasks.add, 1, 2)
        assert heard() == [NEWS]


def test_many_transactions_notify_seldom(engine, gator, heard, monkeypatch):
    monkeypatch.setattr(wakeups, "NOTIFY_INTERVAL", 3600.0)
    for number in range(10):
        with Session(engine) as session, session.begin():
            gator.using(session).task(tasks.add, number, 1)
    assert heard() == [NEWS]
