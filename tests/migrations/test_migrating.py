"""Upgrades and downgrades: complete, repeatable, alone, and only on what is ours."""

import os
import sqlite3
import subprocess
import sys
import threading

import psycopg
import pytest

from alligator_sql.backends.sql import migrating, schema
from alligator_sql.exceptions import (
    InvalidOptionError,
    SchemaError,
    StoreUnavailableError,
    UnknownBackendError,
)
from tests.helpers import PATIENCE, wait_until

from .databases import ROOT, definitions, dump, file_of, program

INSTALLATIONS = [
    pytest.param({}, id="default"),
    pytest.param({"prefix": "jobs_"}, id="prefix"),
    pytest.param({"schema": "queue"}, id="schema"),
    pytest.param({"prefix": "jobs_", "schema": "public"}, id="public"),
]

WAIT_THEN_UPGRADE = """
import sys
from alligator_sql.backends.sql import migrating
print("ready", flush=True)
sys.stdin.readline()
migrating.upgrade(sys.argv[1])
"""


LOCK = int.from_bytes(b"alligato")
"""The key that migrations of one PostgreSQL database queue for."""


def start(code: str, dsn: str, count: int = 6) -> list[subprocess.Popen[str]]:
    """Start processes that run ``code``, and let them go on once all say that they are ready."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Return the exit codes of processes and what they complained about."""
    errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def revisions(dsn: str) -> list[tuple[str]]:
    query = "select version_num from alligator_version"
    if dsn.startswith("sqlite"):
        file = sqlite3.connect(file_of(dsn))
        rows = file.execute(query).fetchall()
        file.close()
        return rows
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_downgrade_leaves_nothing_on_postgresql(installation, empty_postgres_dsn, postgres_server):
    with psycopg.connect(empty_postgres_dsn) as connection:
        connection.execute("create schema queue")
    before = dump(empty_postgres_dsn, postgres_server.version)
    schema.upgrade(empty_postgres_dsn, **installation)
    upgraded = dump(empty_postgres_dsn, postgres_server.version)
    assert upgraded != before
    assert migrating.check(empty_postgres_dsn, **installation) == []

    migrating.downgrade(empty_postgres_dsn, "base", **installation)
    assert dump(empty_postgres_dsn, postgres_server.version) == before
    assert migrating.current(empty_postgres_dsn, **installation) is None

    schema.upgrade(empty_postgres_dsn, **installation)
    assert dump(empty_postgres_dsn, postgres_server.version) == upgraded


def test_downgrade_leaves_nothing_on_sqlite(empty_sqlite_dsn):
    schema.upgrade(empty_sqlite_dsn)
    upgraded = definitions(empty_sqlite_dsn)
    assert migrating.check(empty_sqlite_dsn) == []
    migrating.downgrade(empty_sqlite_dsn, "base")
    assert definitions(empty_sqlite_dsn) == []
    schema.upgrade(empty_sqlite_dsn)
    assert definitions(empty_sqlite_dsn) == upgraded


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_upgrades_at_once_on_postgresql(isolation, empty_postgres_dsn):
    with psycopg.connect(empty_postgres_dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(
            f"alter database {name} set default_transaction_isolation to '{isolation}'"
        )
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with psycopg.connect(empty_postgres_dsn, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        processes = start(WAIT_THEN_UPGRADE, empty_postgres_dsn)
        # All have begun before the first of them migrates.
        wait_until(lambda: connection.execute(waiting).fetchone() == (6,))
    assert ends(processes) == [(0, "")] * 6
    assert revisions(empty_postgres_dsn) == [(schema.REVISION,)]


def test_upgrades_at_once_on_sqlite(empty_sqlite_dsn):
    processes = start(WAIT_THEN_UPGRADE, empty_sqlite_dsn)
    assert ends(processes) == [(0, "")] * 6
    assert revisions(empty_sqlite_dsn) == [(schema.REVISION,)]


def test_a_new_sqlite_file_that_somebody_writes_to(empty_sqlite_dsn):
    """SQLite does not wait by itself when the switch to WAL meets another writer."""
    other = sqlite3.connect(
        file_of(empty_sqlite_dsn), isolation_level=None, check_same_thread=False
    )
    other.execute("begin immediate")
    release = threading.Timer(0.3, other.execute, ["commit"])
    release.start()
    schema.upgrade(empty_sqlite_dsn)
    release.join()
    other.close()
    assert migrating.check(empty_sqlite_dsn) == []


def test_a_failed_upgrade_changes_nothing(empty_postgres_dsn, empty_sqlite_dsn, postgres_server):
    # Something of the application stands in the way of the last table but one.
    obstacle = "create table alligator_errors (id int)"
    with psycopg.connect(empty_postgres_dsn) as connection:
        connection.execute(obstacle)
    before = dump(empty_postgres_dsn, postgres_server.version)
    with pytest.raises(SchemaError, match="already exists"):
        schema.upgrade(empty_postgres_dsn)
    assert dump(empty_postgres_dsn, postgres_server.version) == before

    file = sqlite3.connect(file_of(empty_sqlite_dsn))
    file.execute(obstacle)
    file.close()
    with pytest.raises((SchemaError, StoreUnavailableError), match="already exists"):
        schema.upgrade(empty_sqlite_dsn)
    assert [name for _, name, _ in definitions(empty_sqlite_dsn)] == ["alligator_errors"]


def test_two_installations_side_by_side(empty_postgres_dsn, empty_sqlite_dsn):
    installations = [{}, {"prefix": "alligator_two_"}]
    for dsn in (empty_postgres_dsn, empty_sqlite_dsn):
        for installation in installations:
            schema.upgrade(dsn, **installation)
        assert [migrating.check(dsn, **one) for one in installations] == [[], []]
        migrating.downgrade(dsn, "base")
        assert migrating.current(dsn) is None
        assert migrating.check(dsn, prefix="alligator_two_") == []


def test_check_tells_what_differs(postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("create table alligator_pets (id int)")  # of the application
        connection.execute("drop index alligator_finished_at")
        connection.execute("drop view alligator_queue_depth")
        connection.execute("drop table alligator_results")
        connection.execute("alter table alligator_workers drop column host")
        connection.execute("alter table alligator_payloads alter payload type varchar(10)")
    assert sorted(migrating.check(postgres_dsn)) == [
        "add column alligator_workers.host",
        "add index alligator_finished_at",
        "add table alligator_results",
        "add view alligator_queue_depth",
        "modify type of alligator_payloads.payload from VARCHAR(length=10) to Text()",
    ]


def test_check_of_an_empty_database_leaves_it_empty(empty_postgres_dsn, postgres_server):
    before = dump(empty_postgres_dsn, postgres_server.version)
    differences = migrating.check(empty_postgres_dsn, schema="queue")
    assert differences[0] == f"the revision is none, not {schema.REVISION}"
    assert dump(empty_postgres_dsn, postgres_server.version) == before


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_offline_statements_make_the_same_on_postgresql(installation, postgres_server):
    migrated, scripted = (postgres_server.create_database() for _ in range(2))
    schema.upgrade(postgres_server.dsn(migrated), **installation)
    script = migrating.sql("postgresql://u:secret@nowhere.invalid/none", **installation)
    dsn = postgres_server.dsn(scripted)
    subprocess.run(
        [program("psql", postgres_server.version), "-qX", "-v", "ON_ERROR_STOP=1", dsn],
        input=script,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert "secret" not in script
    assert dump(dsn, postgres_server.version) == dump(
        postgres_server.dsn(migrated), postgres_server.version
    )
    assert migrating.check(dsn, **installation) == []


def test_offline_statements_make_the_same_on_sqlite(tmp_path):
    migrated, scripted = (f"sqlite:///{tmp_path}/{name}.db" for name in ("migrated", "scripted"))
    schema.upgrade(migrated)
    connection = sqlite3.connect(file_of(scripted))
    connection.executescript(migrating.sql(scripted))
    connection.close()
    assert definitions(scripted) == definitions(migrated)
    assert revisions(scripted) == [(schema.REVISION,)]


def test_a_schema_needs_no_right_to_create_schemas_when_it_exists(empty_postgres_dsn):
    with psycopg.connect(empty_postgres_dsn, autocommit=True) as connection:
        connection.execute("drop role if exists migrator")
        connection.execute("create role migrator login")
        connection.execute("create schema queue authorization migrator")
    own = empty_postgres_dsn.replace("postgres:", "migrator:", 1)
    assert own != empty_postgres_dsn
    schema.upgrade(own, schema="queue")
    assert migrating.check(own, schema="queue") == []


@pytest.mark.parametrize(
    ("dsn", "options", "error", "message"),
    [
        ("redis://localhost", {}, UnknownBackendError, "Only databases"),
        ("no string", {}, UnknownBackendError, "Only databases"),
        ("postgresql://u:secret@h:port/d", {}, UnknownBackendError, "Only databases"),
        ("sqlite:///never.db", {"schema": "queue"}, SchemaError, "SQLite has no schemas"),
        ("sqlite:///never.db", {"prefix": "Jobs"}, InvalidOptionError, "'Jobs' cannot be"),
        ("postgresql://h/d", {"schema": "user"}, InvalidOptionError, "reserved word"),
        ("sqlite:///never.db", {"revision": "77"}, SchemaError, "77"),
        (
            "postgresql://u:secret@localhost:1/d",
            {},
            StoreUnavailableError,
            "does not answer",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(dsn, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as caught:
        schema.upgrade(dsn, **options)
    assert "secret" not in str(caught.value)


def alembic(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run plain Alembic in the checkout."""
    inherited = {name: value for name, value in os.environ.items() if name != "ALLIGATOR_CONN"}
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_alembic_in_a_checkout(postgres18_dsn, sqlite_dsn):
    for dsn in (postgres18_dsn, sqlite_dsn):
        installation = ("-x", f"dsn={dsn}", "-x", "prefix=two_")
        assert alembic(*installation, "upgrade", "head").returncode == 0
        assert migrating.current(dsn, prefix="two_") == schema.REVISION
        checked = alembic(*installation, "check")
        assert (checked.returncode, "No new upgrade" in checked.stdout) == (0, True), checked
        assert alembic(*installation, "downgrade", "base").returncode == 0
        assert migrating.current(dsn, prefix="two_") is None
        offline = alembic(*installation, "upgrade", "head", "--sql")
        assert offline.stdout == migrating.sql(dsn, prefix="two_")
        assert f"{schema.REVISION} (head)" in alembic("current", ALLIGATOR_CONN=dsn).stdout


def test_plain_alembic_says_what_it_needs():
    nameless = alembic("upgrade", "head")
    assert nameless.returncode != 0
    assert "give -x dsn=" in nameless.stdout + nameless.stderr
    mistaken = alembic("-x", "perfix=two_", "upgrade", "head")
    assert mistaken.returncode != 0
    assert "perfix" in mistaken.stdout + mistaken.stderr
