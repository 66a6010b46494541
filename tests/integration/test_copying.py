"""Many tasks at once on PostgreSQL: COPY stores what INSERT would have stored."""

import json
import math
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from alligator_sql import Gator, PayloadError, QueueFull, Task
from alligator_sql.backends.sql import copying, schema
from alligator_sql.backends.sql.listeners import channel_of
from alligator_sql.backends.sql.payloads import unpack
from alligator_sql.backends.sql.tables import Names
from alligator_sql.ids import new_ids
from alligator_sql.messages import Message, Series
from tests.helpers import PATIENCE, Background, wait_until
from tests.pooler import Pooler
from tests.postgres_clusters import Cluster
from tests.proxy import Proxy

from . import tasks

MANY = 2 * copying.FEWEST
OPTIONS: list[dict[str, Any]] = [
    {},
    {"delay_by": 3600, "priority": -7, "expires": 7200, "retries": 2},
    {"delay_until": 4_000_000_000.5, "tags": ["a", 'b "\\'], "keep_result": True},
    {"delay_until": 1.0, "queue": "mail \\ \\N é 🐊"},
]
ROWS: LiteralString = """
    select t.queue, t.func, t.status, t.priority, t.tags, t.unique_key, t.attempts, t.lease,
           t.crashes, t.worker_id, t.suspect, created_at <= now(), run_at >= created_at,
           round(extract(epoch from case when run_at > '2096-01-01' then run_at - 'epoch'
                                         else run_at - created_at end), 1),
           round(extract(epoch from expires_at - created_at), 1),
           left(p.payload, 2),  -- "=[" says that the task's own id and function come before
           ('{"args":' || substr(p.payload, 2))::jsonb #- '{options,delay_until}'
      from alligator_tasks t join alligator_payloads p on p.id = t.id order by t.id
"""
STORED: LiteralString = """
    select t.queue, t.tags, p.payload, t.id, t.func
      from alligator_tasks t join alligator_payloads p on p.id = t.id order by t.id
"""
ONCE: LiteralString = """
    create sequence rows;
    create function happen() returns trigger language plpgsql as $$
        begin
            if nextval('rows') = 150 then
                {what}
            end if;
            return new;
        end
    $$;
"""
BEFORE_PAYLOAD: LiteralString = """
    create trigger happens before insert on alligator_payloads
        for each row execute function happen()
"""
AT_COMMIT: LiteralString = """
    create constraint trigger happens after insert on alligator_payloads
        deferrable initially deferred for each row execute function happen()
"""


@pytest.fixture
def gator(postgres_dsn) -> Iterator[Gator]:
    with closing(Gator(postgres_dsn)) as gator:
        yield gator


@pytest.fixture
def gator18(postgres18_dsn) -> Iterator[Gator]:
    with closing(Gator(postgres18_dsn)) as gator:
        yield gator


@pytest.fixture
def copied(monkeypatch) -> list[int]:
    """The numbers of tasks that were copied, one for each COPY."""
    numbers: list[int] = []
    copy = copying.Copier.copy

    def counted(copier: copying.Copier, connection: Any, series: Series) -> None:
        copy(copier, connection, series)
        numbers.append(len(series))

    monkeypatch.setattr(copying.Copier, "copy", counted)
    return numbers


def rows(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(ROWS).fetchall()


def empty(dsn: str) -> None:
    execute(dsn, "truncate alligator_tasks, alligator_payloads")


def execute(dsn: str, *statements: LiteralString) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def series_of(number: int, **options: Any) -> Series:
    ids = new_ids(number)
    model = Message(UUID(int=0), "", "all", "builtins.print", "", **options)
    return Series(model, ids, [f'{{"number":{each}}}' for each in range(number)])


@pytest.mark.parametrize("options", OPTIONS)
def test_the_rows_are_those_of_single_tasks(gator, postgres_dsn, copied, options):
    view = gator.options(**options)
    for number in range(copying.FEWEST):
        view.task(tasks.echo, number)
    alone = rows(postgres_dsn)
    empty(postgres_dsn)
    assert view.map(tasks.echo, range(copying.FEWEST)) == copying.FEWEST
    assert rows(postgres_dsn) == alone
    assert copied == [copying.FEWEST]


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=99)
VALUES = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(VALUES, min_size=1, max_size=20), TEXTS, st.lists(TEXTS, max_size=3, unique=True))
def test_what_is_stored_comes_back(gator18, postgres18_dsn, monkeypatch, items, queue, tags):
    monkeypatch.setattr(copying, "FEWEST", 1)
    empty(postgres18_dsn)
    assert gator18.options(queue=queue, tags=tags).map(tasks.echo, items) == len(items)
    with psycopg.connect(postgres18_dsn) as connection:
        found = connection.execute(STORED).fetchall()
    calls = [json.loads(unpack(payload, task_id, func)) for _, _, payload, task_id, func in found]
    assert [call["args"] for call in calls] == [[item] for item in items]
    assert {(name, tuple(json.loads(kept or "[]"))) for name, kept, *_ in found} == {
        (queue, tuple(tags))
    }


@pytest.mark.parametrize("encoding", ["latin1", "utf8"])
def test_the_encoding_of_an_application_is_kept(postgres18_dsn, copied, encoding):
    engine = create_engine(
        make_url(postgres18_dsn).set(drivername="postgresql+psycopg"),
        connect_args={"client_encoding": encoding},
        isolation_level="AUTOCOMMIT",
    )
    there = Gator(engine=engine, queue_name="grün")
    there.map(tasks.echo, range(MANY))
    assert copied == [MANY]
    engine.dispose()
    with closing(Gator(postgres18_dsn, "grün")) as gator:
        assert [gator.pop() for _ in range(MANY)] == list(range(MANY))


def test_batches_are_large_and_tell_their_progress(gator, copied):
    told: list[int] = []
    number = 2 * copying.BATCH + 7
    assert gator.map(tasks.echo, iter(range(number)), progress=told.append) == number
    assert told == [copying.BATCH, 2 * copying.BATCH, number]
    assert copied == [copying.BATCH, copying.BATCH]  # the rest are few
    assert gator.len() == number
    assert gator.pop() == 0


def test_a_million_would_take_the_memory_of_one_batch(gator18):
    peaks: list[int] = []

    def look(stored: int) -> None:
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

    tracemalloc.start()
    gator18.map(tasks.echo, iter(range(8 * copying.BATCH)), progress=look)
    tracemalloc.stop()
    assert len(peaks) == 8
    assert max(peaks[2:]) < 1.1 * peaks[1]


def test_a_worker_is_told(gator18, postgres18_dsn):
    channel = channel_of(Names(), gator18.queue_name)
    with psycopg.connect(postgres18_dsn, autocommit=True) as connection:
        connection.execute(f"listen {channel}".encode())
        gator18.map(tasks.echo, range(MANY))
        assert [each.channel for each in connection.notifies(timeout=PATIENCE, stop_after=1)] == [
            channel
        ]


def test_nobody_may_be_told(gator18, postgres18_dsn, monkeypatch, caplog):
    """The tasks are stored by then: to refuse them would have them stored again."""
    commit = Connection.commit

    def commit_and_die(connection: Connection) -> None:
        commit(connection)
        driver: Any = connection.connection.driver_connection
        with psycopg.connect(postgres18_dsn, autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "commit", commit_and_die)
        assert gator18.map(tasks.echo, range(MANY)) == MANY
    assert "nobody was notified of new tasks" in caplog.text
    assert gator18.len() == MANY


@pytest.mark.parametrize("option", [{"unique_key": "one"}, {"task_id": "one"}])
def test_what_may_be_there_already_is_inserted(gator18, copied, option):
    assert gator18.options(**option).map(tasks.echo, range(MANY)) == 1
    assert copied == []


def test_a_task_class_of_an_application_is_inserted(postgres18_dsn, copied):
    class Own(Task):
        pass

    with closing(Gator(postgres18_dsn, task_class=Own)) as gator:
        assert gator.map(tasks.echo, range(MANY)) == MANY
    assert copied == []


def test_an_id_that_is_there_already_is_a_duplicate(gator18):
    first, second = series_of(MANY), series_of(MANY)
    assert gator18.store.enqueue_series(first) == MANY
    assert gator18.store.enqueue_series(first) == 0
    both = Series(first.model, [*first.ids, *second.ids], [*first.payloads, *second.payloads])
    assert gator18.store.enqueue_series(both) == MANY
    assert gator18.len() == 2 * MANY


def test_an_item_that_cannot_be_stored_ends_it(gator18):
    told: list[int] = []
    items = [*range(copying.BATCH + 50), math.inf, *range(50)]
    with pytest.raises(PayloadError, match="inf"):
        gator18.map(tasks.echo, items, progress=told.append)
    assert told == [copying.BATCH]
    assert gator18.len() == copying.BATCH


def test_a_batch_that_is_refused_stores_nothing_of_it(gator18, postgres18_dsn):
    told: list[int] = []
    assert gator18.map(tasks.echo, range(MANY), progress=told.append) == MANY
    execute(postgres18_dsn, ONCE.format(what="raise exception 'not today';"), BEFORE_PAYLOAD)
    with pytest.raises(DBAPIError, match="not today"):
        gator18.map(tasks.echo, range(MANY), progress=told.append)
    assert told == [MANY]
    assert len(rows(postgres18_dsn)) == gator18.len() == MANY
    assert gator18.map(tasks.echo, range(MANY)) == MANY


@pytest.mark.parametrize("when", [BEFORE_PAYLOAD, AT_COMMIT])
def test_a_connection_that_is_killed_is_replaced(gator18, postgres18_dsn, copied, when):
    gator18.map(tasks.echo, range(MANY))
    execute(
        postgres18_dsn, ONCE.format(what="perform pg_terminate_backend(pg_backend_pid());"), when
    )
    assert gator18.map(tasks.echo, range(MANY)) == MANY
    assert len(rows(postgres18_dsn)) == gator18.len() == 2 * MANY
    assert copied[0] == MANY


def test_a_full_disk_is_a_full_queue(gator18, postgres18_dsn):
    execute(
        postgres18_dsn,
        ONCE.format(what="raise exception 'simulated' using errcode = '53100';"),
        BEFORE_PAYLOAD,
    )
    with pytest.raises(QueueFull, match="simulated"):
        gator18.map(tasks.echo, range(MANY))
    assert gator18.len() == 0


def test_an_interrupt_leaves_nothing_behind(gator18, postgres18_dsn):
    gator18.map(tasks.echo, range(MANY))
    execute(postgres18_dsn, ONCE.format(what="perform pg_sleep(20);"), BEFORE_PAYLOAD)
    threads = threading.active_count()

    def interrupt() -> None:
        sleeping = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
        with psycopg.connect(postgres18_dsn, autocommit=True) as observer:
            wait_until(lambda: observer.execute(sleeping).fetchall())
        signal.raise_signal(signal.SIGINT)

    interrupting = Background(interrupt)
    with pytest.raises(KeyboardInterrupt):
        gator18.map(tasks.echo, range(MANY))
    interrupting.result()
    assert threading.active_count() == threads
    assert gator18.len() == MANY
    assert gator18.map(tasks.echo, range(MANY)) == MANY


def test_an_engine_of_an_application_survives_that_too(postgres18_dsn):
    engine = create_engine(make_url(postgres18_dsn).set(drivername="postgresql+psycopg"))
    execute(
        postgres18_dsn,
        ONCE.format(what="perform pg_terminate_backend(pg_backend_pid());"),
        BEFORE_PAYLOAD,
    )
    gator = Gator(engine=engine)
    assert gator.map(tasks.echo, range(MANY)) == MANY
    assert gator.len() == MANY
    engine.dispose()


def test_rows_that_have_policies_are_inserted(postgres18_dsn, copied):
    execute(
        postgres18_dsn,
        "drop role if exists copying",
        "create role copying login",
        "grant select, insert, update, delete on all tables in schema public to copying",
        "alter table alligator_tasks enable row level security",
        "create policy all_of_them on alligator_tasks using (true)",
    )
    with closing(Gator(postgres18_dsn.replace("postgres:@", "copying:@"))) as gator:
        assert gator.map(tasks.echo, range(MANY)) == MANY
        assert gator.len() == MANY
    execute(postgres18_dsn, "drop owned by copying", "drop role copying")
    assert copied == []


def test_a_trigger_that_leaves_rows_out_is_honoured(gator18, postgres18_dsn, copied):
    execute(
        postgres18_dsn,
        "create function odd() returns trigger language plpgsql as "
        "$$ begin if new.id::text ~ '[02468ace]$' then return new; end if; return null; end $$",
        "create trigger odd before insert on alligator_tasks for each row execute function odd()",
    )
    stored = gator18.map(tasks.echo, range(MANY))
    assert 0 < stored < MANY
    assert gator18.len() == len(rows(postgres18_dsn)) == stored
    assert copied == []


@pytest.fixture(scope="module")
def cluster(postgres18_server) -> Iterator[Cluster]:
    with Cluster.like(postgres18_server) as cluster:
        schema.upgrade(cluster.dsn())
        yield cluster


@pytest.mark.slow
class TestNetworks:
    @pytest.mark.parametrize("thousands", range(5, 50, 5))
    def test_that_break_anywhere_lose_nothing(self, cluster, thousands):
        empty(cluster.dsn())
        with Proxy(cluster.port) as proxy, closing(Gator(cluster.dsn(proxy.port))) as gator:
            gator.open()
            proxy.cut(1000 * thousands)
            assert gator.map(tasks.echo, range(MANY)) == MANY
            assert gator.len() == len(rows(cluster.dsn())) == MANY

    def test_that_lose_the_answer_to_a_commit_store_once(self, cluster):
        empty(cluster.dsn())
        execute(cluster.dsn(), ONCE.format(what="perform pg_advisory_xact_lock(7);"), AT_COMMIT)
        waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted"
        with (
            psycopg.connect(cluster.dsn(), autocommit=True) as observer,
            Proxy(cluster.port) as proxy,
            closing(Gator(cluster.dsn(proxy.port))) as gator,
        ):
            observer.execute("select pg_advisory_lock(7)")
            mapped = Background(partial(gator.map, tasks.echo, range(MANY)))
            wait_until(lambda: observer.execute(waiting).fetchall())
            proxy.swallow("answers")
            observer.execute("select pg_advisory_unlock(7)")
            assert proxy.swallowing.wait(PATIENCE)
            proxy.swallow()
            proxy.reset()
            assert mapped.result() == MANY
            assert gator.len() == len(rows(cluster.dsn())) == MANY
        execute(cluster.dsn(), "drop function happen cascade", "drop sequence rows")

    def test_with_a_transaction_pooler_are_good_enough(self, cluster, copied):
        empty(cluster.dsn())
        with Pooler(cluster.port) as pooler, closing(Gator(cluster.dsn(pooler.port))) as gator:
            assert gator.map(tasks.echo, range(MANY)) == MANY
        assert len(rows(cluster.dsn())) == MANY
        assert copied == [MANY]
