"""Statements that go past SQLAlchemy behave as if they did not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from alligator_sql import Gator
from alligator_sql.backends.sql import SQLBackend, driver, writers
from alligator_sql.backends.sql.dialects import Execute, Parameters, Rows
from alligator_sql.backends.sql.steps import on_sqlite3
from alligator_sql.exceptions import StoreUnavailableError, TaskCanceled
from alligator_sql.messages import Claim, WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded

from . import tasks

REFUSE = """
    create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'not at all'; end
    $$;
    create constraint trigger refuse after insert on alligator_finished
        deferrable initially deferred for each row execute function refuse()
"""


@pytest.fixture
def engine(postgres18_dsn) -> Iterator[Engine]:
    engine = create_engine(postgres18_dsn.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


@pytest.fixture
def gator(postgres18_dsn) -> Iterator[Gator]:
    with closing(Gator(postgres18_dsn)) as gator:
        yield gator


@pytest.fixture
def backend(postgres18_dsn) -> Iterator[SQLBackend]:
    with closing(SQLBackend(postgres18_dsn)) as backend:
        yield backend


def joined(backend: SQLBackend) -> UUID:
    worker = WorkerRecord(uuid4(), "here", 1, ("all",), 60.0)
    assert backend.heartbeat(worker, first=True)
    return worker.id


def claimed(gator: Gator, backend: SQLBackend, worker: UUID) -> Claim:
    gator.task(tasks.add, 1, 2)
    (claim,) = backend.claim(["all"], 1, worker, thorough=True)
    return claim


def test_who_listens_to_statements_hears_ours(gator, engine):
    heard: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def hear(_connection, _cursor, statement, _parameters, _context, _many) -> None:
        heard.append(statement)

    with Session(engine) as session, session.begin():
        gator.using(session).task(tasks.add, 1, 2)
    assert any("alligator_tasks" in statement for statement in heard)


def test_who_reads_the_log_of_statements_reads_ours(gator, engine, caplog):
    engine.echo = True
    with Session(engine) as session, session.begin():
        gator.using(session).task(tasks.add, 1, 2)
    assert "alligator_tasks" in caplog.text


def test_a_session_raises_errors_of_sqlalchemy(gator, engine, postgres18_dsn):
    gator.open()
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        connection.execute("alter table alligator_payloads rename to elsewhere")
    with (
        Session(engine) as session,
        session.begin(),
        pytest.raises(DBAPIError, match="UndefinedTable"),
        session.begin_nested(),
    ):
        gator.using(session).task(tasks.add, 1, 2)


def test_a_commit_that_is_refused_leaves_no_broken_connection(gator, backend, postgres18_dsn):
    worker = joined(backend)
    settlement = Settlement(claimed(gator, backend, worker), Succeeded(3))
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        connection.execute(REFUSE)
        with pytest.raises(StoreUnavailableError):
            backend.claim(["all"], 1, worker, [settlement])
        connection.execute("drop trigger refuse on alligator_finished")
    assert backend.claim(["all"], 1, worker, [settlement]) == []
    assert gator.find(str(settlement.claim.id)).status_name == "success"


def test_outcomes_and_the_next_claim_are_one_transaction(gator, backend, postgres18_dsn):
    worker = joined(backend)
    settlement = Settlement(claimed(gator, backend, worker), Succeeded(3))
    gator.task(tasks.add, 3, 4)
    (second,) = backend.claim(["all"], 1, worker, [settlement], thorough=True)
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        [(written,)] = connection.execute("select xmin::text from alligator_finished")
        [(updated,)] = connection.execute(
            "select xmin::text from alligator_tasks where id = %s", (second.id,)
        )
    assert written == updated


def test_what_an_interruption_left_in_a_transaction_is_not_used_again(
    gator, postgres18_dsn, monkeypatch
):
    gator.open()
    with monkeypatch.context() as patch:
        patch.setattr(gator.store.engine.dialect, "do_commit", _interrupted)
        with pytest.raises(TaskCanceled):
            gator.pause()
    gator.task(tasks.add, 1, 2)
    with psycopg.connect(postgres18_dsn) as connection:
        assert connection.execute("select count(*) from alligator_tasks").fetchone() == (1,)
    assert not gator.is_paused()


def test_what_an_interruption_left_in_a_pipeline_is_not_used_again(gator, backend, monkeypatch):
    worker = joined(backend)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "psycopg_sql", _interrupted)
        with pytest.raises(TaskCanceled):
            backend.claim(["all"], 1, worker, thorough=True)
    assert claimed(gator, backend, worker).attempts == 1


def test_what_an_interruption_left_on_sqlite_is_not_used_again(sqlite_dsn, monkeypatch):
    with closing(Gator(sqlite_dsn)) as gator:
        gator.open()
        with monkeypatch.context() as patch:
            patch.setattr(writers, "on_sqlite3", _interrupted_by_the_second_statement)
            with pytest.raises(TaskCanceled):
                gator.task(tasks.add, 1, 2)
        gator.task(tasks.add, 3, 4)
        with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"))) as observer:
            assert observer.execute("select count(*) from alligator_payloads").fetchall() == [(1,)]
        assert gator.pop() == 7


def test_an_interruption_on_sqlite_keeps_nobody_out(sqlite_dsn, monkeypatch):
    """Its traceback holds a cursor that has rows left, without which a closed connection ends."""
    with closing(Gator(sqlite_dsn)) as gator:
        gator.open()
        with monkeypatch.context() as patch:
            patch.setattr(writers, "on_sqlite3", _interrupted_before_the_rows)
            with pytest.raises(TaskCanceled) as caught:
                gator.task(tasks.add, 1, 2)
        with closing(sqlite3.connect(sqlite_dsn.removeprefix("sqlite:///"), timeout=0)) as other:
            other.execute("begin immediate")
            assert other.execute("select count(*) from alligator_tasks").fetchall() == [(0,)]
        assert caught.value.__traceback__ is not None


def test_statements_that_stand_alone_do_not_inherit_the_level_of_the_role(postgres18_dsn):
    options = r"-c default_transaction_isolation=repeatable\ read"
    sign = "&" if "?" in postgres18_dsn else "?"
    dsn = f"{postgres18_dsn}{sign}options={quote(options)}"
    with closing(SQLBackend(dsn)) as backend, backend.engine.connect() as connection:
        assert connection.scalar(text("show transaction_isolation")) == "read committed"


def _interrupted_before_the_rows(connection: sqlite3.Connection) -> Execute:
    def interrupted(sql: str, parameters: Parameters) -> Rows:
        cursor = connection.execute(sql, parameters)
        assert cursor.description
        raise TaskCanceled

    return interrupted


def _interrupted_by_the_second_statement(connection: sqlite3.Connection) -> Execute:
    execute = on_sqlite3(connection)
    executed: list[str] = []

    def interrupted(sql: str, parameters: Parameters) -> Rows:
        if executed:
            raise TaskCanceled
        executed.append(sql)
        return execute(sql, parameters)

    return interrupted


def _interrupted(*_: object) -> Any:
    raise TaskCanceled
