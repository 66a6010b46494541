"""``alligator-sql worker`` and ``latergator.py``, as processes."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alligator_sql import Gator, constants
from tests.helpers import PATIENCE, wait_until

from .commands import MODULE, environment, installed, run

WORKERS = [
    pytest.param((*installed("alligator-sql"), "worker"), id="alligator-sql"),
    pytest.param(installed("latergator.py"), id="latergator"),
    pytest.param((*MODULE, "worker"), id="module"),
]

TASKS = """
from pathlib import Path

def note(name):
    with Path("notes").open("a") as file:
        file.write(name + "\\n")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A folder with a module of tasks, the current one."""
    (tmp_path / "errands.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "errands", raising=False)
    return tmp_path


@pytest.fixture
def enqueue(project, sqlite_dsn):
    """Enqueue a task that writes its argument into ``notes``."""
    import errands  # type: ignore[import-not-found]

    def add(name: str, queue: str = constants.ALL) -> None:
        gator = Gator(sqlite_dsn, queue)
        gator.task(errands.note, name)
        gator.close()

    return add


def notes(project: Path) -> list[str]:
    file = project / "notes"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


@pytest.mark.parametrize("program", WORKERS)
def test_a_worker_runs_functions_of_the_current_folder(program, project, sqlite_dsn, enqueue):
    enqueue("one")
    result = run(sqlite_dsn, "--burst", program=program)
    assert result.returncode == 0, result.stderr
    assert notes(project) == ["one"]


@pytest.mark.parametrize("program", WORKERS)
def test_sigterm_ends_it_with_zero(program, project, sqlite_dsn, enqueue):
    process = subprocess.Popen(
        program,
        env=environment(ALLIGATOR_CONN=sqlite_dsn, ALLIGATOR_LOG_FORMAT="json"),
        stderr=subprocess.PIPE,
        text=True,
    )
    enqueue("one")
    wait_until(lambda: notes(project))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {line["logger"] for line in lines} == {"alligator_sql.worker"}


def test_queues_and_their_number_of_tasks(project, sqlite_dsn, enqueue):
    for name, queue in (("a", "images"), ("b", "mail"), ("c", "other"), ("d", "mail")):
        enqueue(name, queue)
    options = ("-q", "mail, images", "-c", "1", "--max-tasks", "2")
    result = run("worker", sqlite_dsn, *options)
    assert result.returncode == 0, result.stderr
    assert notes(project) == ["b", "d"]
    run("worker", sqlite_dsn, "--burst", variables={"ALLIGATOR_QUEUES": "images"})
    assert notes(project) == ["b", "d", "a"]


@pytest.mark.parametrize("executor", ["threads", "processes", "asyncio", "AUTO"])
def test_executors(executor, project, sqlite_dsn, enqueue):
    enqueue("one")
    result = run("worker", sqlite_dsn, "--burst", "-x", executor)
    assert result.returncode == 0, result.stderr
    assert f"executor {executor.lower()}" in result.stderr
    assert notes(project) == ["one"]


def test_a_module_of_the_current_folder_takes_no_place_of_pythons(project, sqlite_dsn, enqueue):
    (project / "queue.py").write_text("raise SystemExit('the wrong queue')", encoding="utf-8")
    enqueue("one")
    result = run("worker", sqlite_dsn, "--burst", "-p", "1", "-x", "processes")
    assert result.returncode == 0, result.stderr
    assert notes(project) == ["one"]


@pytest.mark.parametrize("options", [(), ("-p", "1")], ids=["alone", "supervised"])
def test_allow_is_strict(project, sqlite_dsn, enqueue, options):
    enqueue("one")
    patterns = ("--allow", "myapp.*", "--allow", "other.*")
    result = run("worker", sqlite_dsn, "--burst", *patterns, *options)
    assert result.returncode == 0, result.stderr
    assert notes(project) == []
    enqueue("two")
    run("worker", sqlite_dsn, "--burst", "--allow", "myapp.*", "--allow", "errands", *options)
    assert notes(project) == ["two"]


def test_prefix(project, sqlite_dsn, enqueue):
    enqueue("one")
    run("worker", sqlite_dsn, "--burst", "--prefix", "jobs_")
    assert notes(project) == []
    run("worker", sqlite_dsn, "--burst", "--prefix", "alligator_")
    assert notes(project) == ["one"]


def test_the_log_has_a_level(project, sqlite_dsn):
    assert "INFO" in run("worker", sqlite_dsn, "--burst").stderr
    assert run("worker", sqlite_dsn, "--burst", "--log-level", "warning").stderr == ""


def test_it_waits_for_a_store_that_is_away_and_gives_up(project):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("localhost", 0))
        port = nobody_listens.getsockname()[1]
        dsn = f"postgresql://user:secret@localhost:{port}/app"
        began = time.monotonic()
        result = run("worker", dsn, "--connect-timeout", "1.5")
    assert time.monotonic() - began >= 1.5
    assert (result.returncode, result.stdout) == (1, "")
    waiting, gave_up = result.stderr.splitlines()
    assert "WARNING waiting up to 1.5 s: The database does not answer" in waiting
    assert "ERROR Gave up after 1.5 s" in gave_up
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_it_can_be_stopped_while_it_waits(project, number, code):
    process = subprocess.Popen(
        [*installed("alligator-sql"), "worker", "postgresql://localhost:1/app"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "waiting" in process.stderr.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert not errors.strip()


def test_it_starts_when_the_store_comes_back(project, postgres18_server):
    database = postgres18_server.create_database(postgres18_server.upgraded)
    hidden = "hidden_for_a_while"
    rename = "alter database {} rename to {}"
    postgres18_server._execute(rename, database, hidden)
    process = subprocess.Popen(
        [*installed("alligator-sql"), "worker", postgres18_server.dsn(database), "--burst"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "waiting" in process.stderr.readline()
    postgres18_server._execute(rename, hidden, database)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    postgres18_server.drop_database(database)


def test_a_variable_can_say_no(project, sqlite_dsn, enqueue):
    enqueue("one")
    options = ("--max-tasks", "1")
    result = run("worker", sqlite_dsn, *options, variables={"ALLIGATOR_BURST": "no"})
    assert result.returncode == 0, result.stderr
    assert "when nothing is due" not in result.stderr


def test_a_missing_schema_is_said_at_once(project, empty_postgres_dsn):
    result = run("worker", empty_postgres_dsn)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("Run: alligator-sql schema upgrade")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("sqlite:///x.db", "-q", "mail,,images"),
        ("sqlite:///x.db", "-c", "0"),
        ("sqlite:///x.db", "--max-tasks", "-1"),
        ("sqlite:///x.db", "--log-level", "LOUD"),
        ("sqlite:///x.db", "--log-format", "xml"),
        ("sqlite:///x.db", "--nonsense"),
        ("sqlite:///x.db", "-p", "-1"),
        ("sqlite:///x.db", "-p", "2", "--max-tasks", "5"),
        ("sqlite:///x.db", "-x", "fibers"),
        ("sqlite:///x.db", "-x", "processes", "--max-memory-per-child", "nan"),
        ("sqlite:///x.db", "--connect-timeout", "nan"),
        ("sqlite:///x.db", "-x", "auto", "--max-tasks-per-child", "5"),
        ("sqlite:///x.db", "--max-memory-per-child", "100"),
    ],
)
def test_usage_errors(arguments, project):
    result = run("worker", *arguments)
    assert result.returncode == 2
    assert "Usage:" in result.stderr
    assert not (project / "x.db").exists()
