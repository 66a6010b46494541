"""``alligator-sql schema``, as somebody types it."""

import subprocess

import psycopg
import pytest

from alligator_sql.backends.sql import migrating, schema

from .commands import MODULE, installed, run

WRONG = "postgresql://user:secret@localhost:1/app"


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("empty_sqlite_dsn"))
    server = request.getfixturevalue("postgres18_server")
    return str(server.dsn(server.create_database()))


def outcome(result: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return result.returncode, result.stdout, result.stderr


def test_a_schema_comes_and_goes(dsn):
    assert outcome(run("schema", "current", dsn)) == (0, "no revision: there are no tables\n", "")
    before = run("schema", "check", dsn)
    assert before.returncode == 1
    assert "  add table alligator_tasks\n" in before.stdout

    assert outcome(run("schema", "upgrade", dsn)) == (0, f"revision {schema.REVISION}\n", "")
    assert outcome(run("schema", "upgrade", dsn)) == (0, f"revision {schema.REVISION}\n", "")
    assert outcome(run("schema", "current", dsn)) == (0, f"revision {schema.REVISION}\n", "")
    assert run("schema", "check", dsn).returncode == 0

    back = run("schema", "downgrade", "--yes", dsn)
    assert outcome(back) == (0, f"revision {int(schema.REVISION) - 1:04}\n", "")
    gone = run("schema", "downgrade", "--yes", "--revision", "base", dsn)
    assert outcome(gone) == (0, "no revision: there are no tables\n", "")


def test_downgrade_asks_first(sqlite_dsn):
    for answer in ("n\n", "\n", ""):
        refused = run("schema", "downgrade", sqlite_dsn, input=answer)
        assert refused.returncode == 1
        assert "Take the tables alligator_*" in refused.stderr
        assert migrating.current(sqlite_dsn) == schema.REVISION
    agreed = run("schema", "downgrade", "--revision", "base", sqlite_dsn, input="y\n")
    assert agreed.returncode == 0
    assert migrating.current(sqlite_dsn) is None


def test_the_question_hides_the_password():
    asked = run("schema", "downgrade", WRONG, input="n\n")
    assert "user:***@localhost" in asked.stderr
    assert "secret" not in asked.stdout + asked.stderr


def test_the_database_comes_from_the_environment(sqlite_dsn):
    variables = {"ALLIGATOR_CONN": sqlite_dsn}
    assert outcome(run("schema", "current", variables=variables)) == (
        0,
        f"revision {schema.REVISION}\n",
        "",
    )
    other = run("schema", "current", variables=variables | {"ALLIGATOR_PREFIX": "jobs_"})
    assert other.stdout == "no revision: there are no tables\n"


def test_prefix_and_schema(empty_postgres_dsn):
    options = ("--prefix", "jobs_", "--schema", "queue")
    assert run("schema", "upgrade", empty_postgres_dsn, *options).returncode == 0
    assert run("schema", "check", empty_postgres_dsn, *options).returncode == 0
    assert run("schema", "check", empty_postgres_dsn).returncode == 1
    with psycopg.connect(empty_postgres_dsn) as connection:
        connection.execute("select * from queue.jobs_queue_depth")


def test_sql_is_pure():
    result = run("schema", "sql", WRONG, "--schema", "queue")
    assert outcome(result) == (0, migrating.sql(WRONG, schema="queue"), "")
    assert result.stdout.startswith("BEGIN;\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("upgrade", WRONG), "does not answer"),
        (("current", WRONG), "does not answer"),
        (("check", WRONG), "does not answer"),
        (("sql", "redis://:secret@localhost"), "Only databases"),
        (("upgrade", "mysql://user:secret@localhost/app"), "Only databases"),
        (("sql", "sqlite:///x.db", "--revision", "0815"), "0815"),
        (("sql", "sqlite:///x.db", "--prefix", "x y"), "'x y'"),
        (("sql", "sqlite:///x.db", "--schema", "queue"), "no schemas"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(arguments, reason):
    result = run("schema", *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert reason in line
    assert "secret" not in line


@pytest.mark.parametrize("arguments", [("upgrade",), ("upgrade", "a", "b"), ("upgrade", "-x")])
def test_usage_errors(arguments):
    result = run("schema", *arguments)
    assert result.returncode == 2
    assert "Usage:" in result.stderr


def test_version_and_help():
    from importlib.metadata import version

    want = f"alligator-sql {version('alligator-sql')}\n"
    for program in (MODULE, installed("alligator-sql")):
        assert outcome(run("--version", program=program)) == (0, want, "")
        assert "worker" in run("--help", program=program).stdout
