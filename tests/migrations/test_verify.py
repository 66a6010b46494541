"""Tables that are missing or too old are reported, and nobody's transaction suffers."""

import sqlite3
import subprocess
import sys

import psycopg
import pytest

from alligator_sql.backends.sql import schema, steps
from alligator_sql.backends.sql.tables import Names
from alligator_sql.exceptions import SchemaError

from .databases import create_all, definitions, file_of
from .test_migrating import ends, revisions, start

DEFAULT = Names()


def verify_on(connection: psycopg.Connection, names: Names = DEFAULT) -> None:
    steps.drive(schema.verify(names, "postgresql"), steps.on_psycopg(connection))


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (Names(), "Run: alligator-sql schema upgrade$"),
        (Names("jobs_"), "Run: alligator-sql schema upgrade --prefix jobs_$"),
        (
            Names("jobs_", "queue"),
            "Run: alligator-sql schema upgrade --prefix jobs_ --schema queue$",
        ),
    ],
)
def test_missing_tables_leave_the_transaction_usable(names, command, empty_postgres_dsn):
    with psycopg.connect(empty_postgres_dsn) as connection:
        connection.execute("create table orders (id int)")
        with pytest.raises(SchemaError, match=command):
            verify_on(connection, names)
        connection.execute("insert into orders values (1)")
    with psycopg.connect(empty_postgres_dsn) as connection:
        assert connection.execute("select id from orders").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "update alligator_version set version_num = '0000'",
            f"at revision 0000, .* needs {schema.REVISION}",
        ),
        ("delete from alligator_version", "at revision none"),
        ("alter table alligator_workers drop column host", "alligator_workers .* no column host"),
        ("drop table alligator_results", "no table alligator_results"),
    ],
)
def test_old_tables_leave_the_transaction_usable(damage, message, postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(damage)
        with pytest.raises(SchemaError, match=message + r".*Run: alligator-sql schema upgrade$"):
            verify_on(connection)
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "change",
    [
        "update alligator_version set version_num = '9999'",
        "alter table alligator_tasks add column later int",
        "drop table alligator_version",  # the application's Alembic manages the tables
    ],
)
def test_newer_and_foreign_managed_tables_are_accepted(change, postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(change)
        verify_on(connection)


def test_tables_of_another_schema_do_not_count(empty_postgres_dsn):
    schema.upgrade(empty_postgres_dsn, schema="queue")
    with psycopg.connect(empty_postgres_dsn) as connection:
        verify_on(connection, Names(schema="queue"))
        with pytest.raises(SchemaError):
            verify_on(connection)
        connection.execute("set search_path to queue")
        verify_on(connection)


def test_a_role_that_may_not_read_the_revision_is_not_stopped(postgres_dsn):
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("drop role if exists producer")
        connection.execute("create role producer")
        connection.execute("grant insert on alligator_tasks, alligator_payloads to producer")
        connection.execute("set role producer")
        verify_on(connection)
        assert connection.execute("select 1").fetchone() == (1,)
        connection.rollback()


def test_verify_on_sqlite(sqlite_dsn):
    connection = sqlite3.connect(file_of(sqlite_dsn))
    execute = steps.on_sqlite3(connection)
    steps.drive(schema.verify(DEFAULT, "sqlite"), execute)
    with pytest.raises(SchemaError, match=r"no table jobs_tasks.*upgrade --prefix jobs_$"):
        steps.drive(schema.verify(Names("jobs_"), "sqlite"), execute)
    connection.execute("update alligator_version set version_num = '0000'")
    for check in (schema.verify(DEFAULT, "sqlite"), schema.create(DEFAULT)):
        with pytest.raises(SchemaError, match=r"at revision 0000.*schema upgrade$"):
            steps.drive(check, execute)
    connection.close()


def test_create_is_part_of_the_callers_transaction(empty_sqlite_dsn):
    connection = sqlite3.connect(file_of(empty_sqlite_dsn), isolation_level=None)
    for end, tables in (("rollback", 0), ("commit", 8)):
        connection.execute("begin")
        steps.drive(schema.create(DEFAULT), steps.on_sqlite3(connection))
        connection.execute(end)
        found = [kind for kind, _, _ in definitions(empty_sqlite_dsn) if kind == "table"]
        assert len(found) == tables
    connection.close()
    assert revisions(empty_sqlite_dsn) == [(schema.REVISION,)]


def test_statements_of_create_may_run_twice(empty_sqlite_dsn):
    """Two processes may both have found an empty file before either writes."""
    connection = sqlite3.connect(file_of(empty_sqlite_dsn))
    execute = steps.on_sqlite3(connection)

    def blind(sql, parameters):
        return [] if "pragma_table_info" in sql else execute(sql, parameters)

    for _ in range(2):
        with pytest.raises(SchemaError):  # blind to what it made, too
            steps.drive(schema.create(DEFAULT), blind)
    steps.drive(schema.verify(DEFAULT, "sqlite"), execute)
    assert connection.execute("select * from alligator_version").fetchall() == [(schema.REVISION,)]
    connection.close()


FIRST_USE = """
import sys
from alligator_sql import Gator
gator = Gator(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
gator.open()
"""


def test_first_uses_at_once_on_sqlite(empty_sqlite_dsn):
    assert ends(start(FIRST_USE, empty_sqlite_dsn)) == [(0, "")] * 6
    assert revisions(empty_sqlite_dsn) == [(schema.REVISION,)]


def test_tables_made_by_create_all_are_accepted(empty_sqlite_dsn):
    create_all(empty_sqlite_dsn, Names())
    before = definitions(empty_sqlite_dsn)
    connection = sqlite3.connect(file_of(empty_sqlite_dsn), isolation_level=None)
    execute = steps.on_sqlite3(connection)
    steps.drive(schema.create(DEFAULT), execute)
    assert definitions(empty_sqlite_dsn) == before
    connection.execute("alter table alligator_workers drop column host")
    with pytest.raises(SchemaError, match=r"alligator_workers .* no column host"):
        steps.drive(schema.create(DEFAULT), execute)
    connection.close()


def test_producers_do_not_import_alembic():
    code = (
        "import sys, alligator_sql, alligator_sql.backends.sql.backend, alligator_sql.cli.worker;"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
