"""``alligator-sql migrate-from``, as somebody types it."""

import os
import pty
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import pytest
import redis

from alligator_sql import Gator, Worker
from alligator_sql.cli import migrate_from
from tests.compat import tasks

from .alligator_one import Old, stored
from .commands import MODULE, environment, run

DAY = 86_400.0


def work(gator: Gator) -> None:
    Worker(gator, burst=True, nap_time=0.01).run_forever()


# What arrives


@pytest.mark.parametrize("dsn", ["sqlite_dsn", "postgres18_dsn"])
def test_tasks_move_and_run(request, old, dsn, journal):
    dsn = request.getfixturevalue(dsn)
    mine = old.task(tasks.note, "mine", task_id="my-own-id").task_id
    other = old.task(tasks.note, ["ä", None, {"b": 1.5}], on_start=tasks.on_start).task_id
    failing = old.task(tasks.fail, retries=1, on_error=tasks.no_more_retries).task_id
    result = run("migrate-from", old.dsn, "--queue", "all", "--to", dsn)
    assert (result.returncode, result.stdout, result.stderr) == (0, "all: 3 moved\n", "")
    assert old.ids() == []
    if old.dsn.startswith("redis"):
        assert old.gator().backend.conn.dbsize() == 0

    with closing(Gator(dsn)) as gator:
        work(gator)
        records = [gator.find(task_id) for task_id in (mine, other, failing)]
    states = [record and record.status_name for record in records]
    assert states == ["success", "success", "failed"]
    assert "mine" in journal
    assert ("start", (["ä", None, {"b": 1.5}],), 0) in journal
    assert journal.count("no") == 1


def test_what_is_delayed_keeps_its_due_time(old, sqlite_dsn):
    due = time.time() + DAY
    later = old.task(tasks.note, "later", delay_until=due).task_id
    past = old.task(tasks.note, "past", delay_until=due - 2 * DAY).task_id
    result = run("migrate-from", old.dsn, "--to", sqlite_dsn)
    assert result.stdout == "all: 2 moved (1 delayed)\n", result.stderr
    with closing(Gator(sqlite_dsn)) as gator:
        delayed, due_now = gator.find(later), gator.find(past)
        task = gator.cancel(later)
    assert delayed
    assert due_now
    assert task
    # Alligator's column in SQLite is an integer.
    assert int(due) <= delayed.run_at.timestamp() <= due + 0.001
    assert abs(due_now.run_at.timestamp() - time.time()) < 60
    assert task.delay_until == pytest.approx(due, abs=1)


def test_queues_are_chosen_and_renamed(old, sqlite_dsn):
    for queue in ("mail", "images", "other"):
        old.task(tasks.note, queue, queue=queue)
    options = ("--queue", "mail, images", "--queue", "mail", "--to-queue", "new")
    result = run("migrate-from", old.dsn, *options, variables={"ALLIGATOR_CONN": sqlite_dsn})
    assert result.stdout == "mail: 1 moved\nimages: 1 moved\n", result.stderr
    assert len(old.ids("other")) == 1
    with closing(Gator(sqlite_dsn, "new")) as gator:
        assert gator.len() == 2


def test_one_file_for_both(old_sqlite, journal):
    for number in range(25):
        old_sqlite.task(tasks.note, number)
    dsn = old_sqlite.dsn.replace("sqlite:///", "sqlite:////")
    result = run("migrate-from", dsn, "--to", dsn, "--batch", "10")
    assert (result.returncode, result.stdout) == (0, "all: 25 moved\n"), result.stderr
    with closing(Gator(dsn)) as gator:
        work(gator)
    assert journal == list(range(25))
    old_sqlite.task(tasks.note, "the old application goes on working")
    assert len(old_sqlite.ids()) == 1


def test_a_prefix(old_sqlite, sqlite_dsn):
    old_sqlite.task(tasks.note, 1)
    assert run("migrate-from", old_sqlite.dsn, "--to", sqlite_dsn, "--prefix", "x_").returncode == 0
    with closing(Gator(sqlite_dsn, prefix="x_")) as gator:
        assert gator.len() == 1


# Once


def test_a_dry_run_touches_nothing(old, tmp_path):
    for number in range(12):
        old.task(tasks.note, number, delay_by=DAY if number < 5 else None)
    old.put("broken", "{")
    before = old.ids()
    new = tmp_path / "new.db"
    result = run("migrate-from", old.dsn, "--to", f"sqlite:///{new}", "--dry-run", "--batch", "5")
    assert result.stdout == "all: 12 would move (5 delayed), 1 would stay\n"
    assert result.returncode == 1
    assert "'broken'" in result.stderr
    assert old.ids() == before
    assert not new.exists()


def test_it_can_be_repeated(old, sqlite_dsn):
    old.task(tasks.note, 1)
    assert run("migrate-from", old.dsn, "--to", sqlite_dsn).stdout == "all: 1 moved\n"
    again = run("migrate-from", old.dsn, "--to", sqlite_dsn)
    assert (again.returncode, again.stdout) == (0, "all: empty, or there is no such queue\n")


def test_what_moved_before_a_failure_is_said(old_sqlite, sqlite_dsn):
    for number in range(4):
        old_sqlite.task(tasks.note, number)
    with closing(sqlite3.connect(old_sqlite.dsn.removeprefix("sqlite://"))) as connection:
        connection.execute(
            "create trigger no before delete on queue_all when old.rowid = 3 "
            "begin select raise(abort, 'no more'); end"
        )
    result = run("migrate-from", old_sqlite.dsn, "--to", sqlite_dsn, "--batch", "2")
    assert (result.returncode, result.stdout) == (1, "all: 4 moved\n")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.endswith("no more\n")
    assert len(old_sqlite.ids()) == 2


def test_an_id_that_is_in_two_queues(old_sqlite, sqlite_dsn):
    old_sqlite.task(tasks.note, 1, task_id="nightly", queue="mail")
    old_sqlite.task(tasks.note, 2, task_id="nightly", queue="images")
    result = run("migrate-from", old_sqlite.dsn, "-q", "mail,images", "--to", sqlite_dsn)
    assert result.returncode == 1
    assert "'nightly': The target knows another task by this id" in result.stderr
    assert (old_sqlite.ids("mail"), old_sqlite.ids("images")) == ([], ["nightly"])


# What stays


def test_it_stays_and_is_reported_each_time(old, sqlite_dsn):
    for number in range(20):
        task_id = f"t{number:02}"
        old.put(task_id, stored(task_id=task_id) if number % 3 else "broken")
    for moved in (13, 0):
        result = run("migrate-from", old.dsn, "--to", sqlite_dsn, "--batch", "4")
        assert result.returncode == 1
        assert result.stdout == f"all: {moved} moved, 7 left\n"
        lines = result.stderr.splitlines()
        assert len(lines) == 7
        assert all(line.startswith("Left in 'all': 't") for line in lines)
    assert old.ids() == [f"t{number:02}" for number in range(0, 20, 3)]


def test_names_are_checked_and_nothing_is_imported(old_sqlite, tmp_path, sqlite_dsn):
    (tmp_path / "trap.py").write_text("open('sprung', 'w')\ndef run(): pass\n", encoding="utf-8")
    old_sqlite.put("a", stored(task_id="a", module="trap", callable="run"))
    old_sqlite.put("b", stored(task_id="b", module="elsewhere.tasks", callable="run"))
    variables = {"PYTHONPATH": str(tmp_path)}
    command = ("migrate-from", old_sqlite.dsn, "--to", sqlite_dsn)
    result = run(*command, "--allow", "elsewhere.*", variables=variables, cwd=tmp_path)
    assert result.stdout == "all: 1 moved, 1 left\n"
    assert "--allow" in result.stderr
    assert run(*command, variables=variables, cwd=tmp_path).stdout == "all: 1 moved\n"
    assert not (tmp_path / "sprung").exists()


def test_a_target_that_knows_no_ids_is_warned_of(old_sqlite, monkeypatch, capsys):
    target = Gator(f"locmem://{uuid4()}")
    old_sqlite.task(tasks.note, 1)
    abilities = replace(target.store.capabilities, find=False, cross_process=True)
    monkeypatch.setattr(type(target.store), "capabilities", abilities)
    migrate_from.run.main([old_sqlite.dsn, "--to", target.conn_string], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out == "all: 1 moved\n"
    assert "does not know what it has" in " ".join(printed.err.split())


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sqs://eu-west-1/", "--to", "sqlite:///new.db"), "not from sqs://"),
        (("nonsense", "--to", "sqlite:///new.db"), "without a scheme"),
        (("sqlite:///no.db", "--to", "sqlite:///new.db"), "There is no file /no.db or no.db"),
        (("sqlite:///text.db", "--to", "sqlite:///new.db"), "not a database"),
        (("sqlite:///old.db", "-q", "mail", "--to", "sqlite:///new.db"), "Its queues: 'all', 'b'."),
        (("redis://:secret@localhost:1/0", "--to", "sqlite:///new.db"), "Redis does not answer"),
        (("redis://:secret@localhost:port/0", "--to", "sqlite:///new.db"), "cannot be read"),
        (("redis://:secret@localhost/one", "--to", "sqlite:///new.db"), "'one' is no database"),
        (("redis://localhost/0?colour=red", "--to", "sqlite:///new.db"), "no parameter 'colour'"),
        (("sqlite:///old.db", "--to", "locmem://"), "keeps tasks in one process"),
        (("sqlite:///old.db", "--to", "mysql://u:secret@localhost/x"), "No backend for mysql://"),
        (("sqlite:///old.db", "--to", "postgresql://u:secret@localhost:1/x"), "does not answer"),
        (("sqlite:///old.db", "--to", "sqlite:///new.db", "--to-queue", "x" * 129), "queue="),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(tmp_path, arguments, reason):
    with closing(Old(f"sqlite:///{tmp_path}/old.db")) as old:
        old.task(tasks.note, 1)
        old.gator("b")
        (tmp_path / "text.db").write_text("text " * 1000, encoding="utf-8")
        result = run("migrate-from", *arguments, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert reason in line
        assert "secret" not in line
        assert len(old.ids()) == 1


def test_a_redis_key_of_another_kind(old_redis, sqlite_dsn):
    with redis.Redis.from_url(old_redis.dsn) as connection:
        connection.set("mail", "x")
    result = run("migrate-from", old_redis.dsn, "--queue", "mail", "--to", sqlite_dsn)
    assert result.returncode == 1
    assert "'mail' is no queue of Alligator 1.0 but a Redis string." in result.stderr


@pytest.mark.parametrize("options", [(), ("--queue", "a,,b"), ("--batch", "0"), ("--nonsense",)])
def test_usage_errors(options, tmp_path):
    arguments = ("--to", "sqlite:///new.db", *options) if options else ()
    result = run("migrate-from", "sqlite:///old.db", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Usage:" in result.stderr


def test_a_bar_on_a_terminal_only(old_sqlite, sqlite_dsn):
    old_sqlite.task(tasks.note, 1)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*MODULE, "migrate-from", old_sqlite.dsn, "--to", sqlite_dsn],
        env=environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    output, _ = process.communicate(timeout=60)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:  # the end of a terminal
        pass
    os.close(master)
    assert output == "all: 1 moved\n"
    assert b"1/1" in shown


def test_a_missing_schema_is_said_before_anything_moves(old_sqlite, empty_postgres_dsn):
    old_sqlite.task(tasks.note, 1)
    result = run("migrate-from", old_sqlite.dsn, "--to", empty_postgres_dsn)
    assert result.returncode == 1
    assert result.stderr.endswith("Run: alligator-sql schema upgrade\n")
    assert len(old_sqlite.ids()) == 1
