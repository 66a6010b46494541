"""Moving tasks out of the stores of Alligator 1.0, inside the test's own process."""

import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import Gator, InvalidOptionError, UnknownBackendError, Worker
from alligator_sql.exceptions import StoreUnavailableError
from alligator_sql.legacy_stores import Entry, LegacyStore, Move, open_store
from tests.compat import tasks

from .alligator_one import Old, stored

DAY = 86_400.0


@pytest.fixture
def target() -> Gator:
    """A store in memory, for moves inside of the test's process."""
    return Gator(f"locmem://{uuid4()}")


def move(old: Old, target: Gator, **options: Any) -> Move:
    """Move the queue "all" to its end."""
    with closing(open_store(old.dsn)) as source:
        moving = Move(source, target, "all", **options)
        for _ in moving.run():
            pass
    return moving


def work(gator: Gator) -> None:
    Worker(gator, burst=True, nap_time=0.01).run_forever()


@pytest.mark.parametrize("dsn", ["sqlite_dsn", "postgres18_dsn", "locmem"])
def test_the_order_stays(request, old, dsn, journal):
    dsn = f"locmem://{uuid4()}" if dsn == "locmem" else request.getfixturevalue(dsn)
    # In Redis tasks of one second are sorted by their ids.
    for number in range(40):
        old.task(tasks.note, number, task_id=f"task-{number:02}")
    with closing(Gator(dsn)) as gator:
        move(old, gator, batch=7)
        work(gator)
    assert journal == list(range(40))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retries": 3},
        {"on_start": tasks.on_start, "on_success": tasks.on_success, "on_error": tasks.on_error},
        {"delay_until": 4_000_000_000},
    ],
)
def test_the_payload_is_what_we_would_have_written(old_sqlite, target, options):
    old_sqlite.task(tasks.note, ["a", {"b": None}], task_id="t", **options)
    move(old_sqlite, target)
    ours = Gator(f"locmem://{uuid4()}")
    with ours.options(task_id="t", **options) as opts:
        opts.task(tasks.note, ["a", {"b": None}])
    assert target.store.cancel("all", "t") == ours.store.cancel("all", "t")


@pytest.mark.parametrize("dsn", ["sqlite_dsn", "postgres18_dsn", "locmem", "redis"])
def test_a_crash_after_storing_leaves_each_task_once(request, monkeypatch, old, dsn, journal):
    match dsn:
        case "locmem":
            dsn = f"locmem://{uuid4()}"
        case "redis":  # the very database that is moved from, if that is one of Redis
            dsn = request.getfixturevalue("own_redis_server").dsn()
        case _:
            dsn = request.getfixturevalue(dsn)
    for number in range(10):
        old.task(tasks.note, number)

    with closing(Gator(dsn)) as gator:
        with closing(open_store(old.dsn)) as source:
            moving = Move(source, gator, "all", batch=4)
            batches = moving.run()
            next(batches)
            monkeypatch.setattr(source, "remove", crash)
            with pytest.raises(StoreUnavailableError):
                next(batches)
        assert (moving.moved, len(old.ids())) == (8, 6)
        work(gator)
        assert len(journal) == 8

        second = move(old, gator, batch=4)
        assert (second.moved, second.known, second.left, second.lost) == (2, 4, 0, 0)
        assert old.ids() == []
        work(gator)
    assert sorted(journal) == list(range(10))


def crash(queue: str, entries: Sequence[Entry]) -> int:
    raise StoreUnavailableError("The power is gone.")


def test_what_others_take_meanwhile_is_told(old, target, monkeypatch):
    for number in range(3):
        old.task(tasks.note, number, task_id=f"t{number}")
    enqueue = target.store.enqueue

    def enqueue_slowly(*args: Any) -> Any:
        receipts = enqueue(*args)
        old.gator().cancel("t0")
        old.put("t1", stored(task_id="t1", args=["changed"]))
        return receipts

    monkeypatch.setattr(target.store, "enqueue", enqueue_slowly)
    with closing(open_store(old.dsn)) as source:
        batches = (moving := Move(source, target, "all")).run()
        next(batches)
    # What is pushed under a known id stays one task in Redis, and becomes a second row in SQLite.
    assert moving.lost == (2 if old.dsn.startswith("redis") else 1)
    assert old.ids() == ["t1"]


# What stays


BROKEN = {
    "JSON": ("{", "not JSON"),
    "depth": ("[" * 100_000, "not JSON"),
    "a list": ([1], "no task of Alligator"),
    "a field": ({"task_id": "x"}, "no task of Alligator"),
    "an unknown field": (stored(task_id="x", eta=5), "'eta'"),
    "an unknown option": (stored(task_id="x", options={"group": 1}), "'group'"),
    "options": (stored(task_id="x", options=[]), "options are not an object"),
    "a hook": (stored(task_id="x", options={"on_start": "os:abort"}), "on_start names no"),
    "arguments": (stored(task_id="x", args={"a": 1}), "arguments"),
    "keyword arguments": (stored(task_id="x", kwargs=[1]), "arguments"),
    "retries": (stored(task_id="x", retries=-1), "retries=-1"),
    "another id": (stored(task_id="y"), "not the one under which"),
    "NaN": (stored(task_id="x", args=[float("nan")]), "cannot be stored as JSON"),
    "a private name": (stored(task_id="x", module="__main__"), "private"),
    "a dotted name": (stored(task_id="x", callable="path.join"), "not the name"),
    "a lambda": (stored(task_id="x", callable="<lambda>"), "not the name"),
    "a list of names": (stored(task_id="x", module=["os"]), "not the name"),
    "the library": (stored(task_id="x", module="os", callable="abort"), "standard library"),
    "a hook's name": (
        stored(task_id="x", options={"on_error": {"module": "os", "callable": "abort"}}),
        "standard library",
    ),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_move_stays(old_sqlite, target, data, reason):
    old_sqlite.put("x", data)
    old_sqlite.put("t", stored())
    with closing(open_store(old_sqlite.dsn)) as source:
        moving = Move(source, target, "all")
        ((left,),) = moving.run()
    assert left.task_id == "x"
    assert reason in left.reason
    assert (moving.moved, moving.left) == (1, 1)
    assert old_sqlite.ids() == ["x"]
    assert target.find("t") is not None


def test_due_times_and_texts_that_are_none(old_sqlite, target):
    connection = old_sqlite.gator().backend.conn
    text = json.dumps(stored())
    for due in (None, "soon", 1e300, float("inf")):
        connection.execute("insert into queue_all values ('t', ?, ?)", (text, due))
    connection.execute("insert into queue_all values (null, null, 0)")
    connection.execute("insert into queue_all values ('x', cast(x'7bff' as text), 0)")
    connection.commit()
    assert move(old_sqlite, target).left == 6


def test_redis_keys_that_are_none(old_redis, target):
    connection = old_redis.gator().backend.conn
    due = {"gone": 1, "hash": 2, "\N{SNOWMAN}": 3, "late": "inf", "early": "-inf", "t": 4}
    connection.zadd("all", due)
    connection.zadd("all", {b"\xff": 5})
    connection.hset("hash", "a", "b")
    for task_id in ("\N{SNOWMAN}", "late", "early", "t"):
        connection.set(task_id, json.dumps(stored(task_id=task_id)))
    moving = move(old_redis, target, batch=2)
    assert (moving.moved, moving.left) == (2, 5)
    left = old_redis.gator().backend.conn
    assert left.exists("late", "early", "hash") == 3
    assert not left.exists("t")


# What the target cannot do


class EarlyClient:
    """A client of five methods that knows no delay."""

    def __init__(self, conn_string: str) -> None:
        self.pushed: list[str] = []

    def len(self, queue_name: str) -> int:
        return len(self.pushed)

    def drop_all(self, queue_name: str) -> None:
        self.pushed.clear()

    def push(self, queue_name: str, task_id: str, data: str) -> str:
        self.pushed.append(task_id)
        return task_id

    def pop(self, queue_name: str) -> None: ...

    def get(self, queue_name: str, task_id: str) -> None: ...


def test_a_target_without_delays(old):
    old.task(tasks.note, 1, task_id="now")
    old.task(tasks.note, 1, task_id="later", delay_by=DAY)
    gator = Gator("none://", backend_class=EarlyClient)
    with closing(open_store(old.dsn)) as source:
        ((left,),) = (moving := Move(source, gator, "all")).run()
    assert gator.backend.pushed == ["now"]
    assert (moving.moved, old.ids()) == (1, ["later"])
    assert "the legacy backend cannot delay tasks" in left.reason


def test_the_limits_of_a_target(old_sqlite, target, monkeypatch):
    old_sqlite.task(tasks.note, "x" * 300)
    old_sqlite.task(tasks.note, 1, delay_by=DAY)
    limits = limited(target, max_delay=900.0, max_payload=250)
    monkeypatch.setattr(type(target.store), "capabilities", limits)
    with closing(open_store(old_sqlite.dsn)) as source:
        ((large, late),) = Move(source, target, "all").run()
    assert "the limit of the local memory backend is 250" in large.reason
    assert "cannot delay tasks for more than 900 s" in late.reason


@pytest.mark.parametrize("queue", ["small", "orders.fifo"])
def test_what_only_sqs_can_tell_stays(old_sqlite, sqs_server, queue):
    """The limit of this very queue, and that a FIFO queue delays nothing."""
    sqs_server.create_queue(f"{sqs_server.prefix}{queue}", MaximumMessageSize="2048")
    old_sqlite.task(tasks.note, "first")
    old_sqlite.task(tasks.note, "x" * 2000, task_id="large")
    old_sqlite.task(tasks.note, "later", delay_by=600)
    old_sqlite.task(tasks.note, "last")
    delays = not queue.endswith(".fifo")
    with closing(Gator(sqs_server.dsn(sqs_server.prefix), queue)) as gator:
        with closing(open_store(old_sqlite.dsn)) as source:
            (left,) = (moving := Move(source, gator, "all", into=queue)).run()
        assert (moving.moved, moving.left, gator.len()) == (2 + delays, 2 - delays, 2 + delays)
    reasons = [f"the limit of the queue {queue}"] + [f"the FIFO queue {queue}"] * (not delays)
    assert all(reason in one.reason for reason, one in zip(reasons, left, strict=True))
    assert len(old_sqlite.ids()) == len(left)


def limited(gator: Gator, **changes: Any) -> Any:
    return replace(gator.store.capabilities, **changes)


# What is opened


def test_without_the_package_redis(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UnknownBackendError, match=r"pip install 'alligator-sql\[redis\]'"):
        open_store("redis://localhost/0")


def test_the_file_is_the_one_that_exists(old_sqlite, tmp_path, monkeypatch):
    old_sqlite.gator()
    monkeypatch.chdir(tmp_path)
    opened: list[LegacyStore] = []
    for dsn in (
        f"sqlite:///{tmp_path}/old.db",
        f"sqlite://{tmp_path}/old.db",
        "sqlite:///old.db",
        "sqlite://old.db",
    ):
        opened.append(open_store(dsn, read_only=True))
        assert opened[-1].len("all") == 0
    for store in opened:
        store.close()


def test_two_files_that_a_string_may_mean(tmp_path, monkeypatch):
    twin = tmp_path / str(tmp_path).lstrip("/") / "old.db"
    twin.parent.mkdir(parents=True)
    for file in (twin, tmp_path / "old.db"):
        sqlite3.connect(file).close()
        file.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidOptionError) as caught:
        open_store(f"sqlite://{tmp_path}/old.db")
    assert f"sqlite:///{tmp_path}/old.db for the first" in str(caught.value)
    assert f"sqlite:/{tmp_path}/old.db for the second" in str(caught.value)
