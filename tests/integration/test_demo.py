"""`make demo` keeps its promises, and leaves nothing behind."""

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from alligator_sql import Gator
from examples.index_files.checks import Checker
from examples.index_files.files import find
from examples.index_files.ledgers import DocumentLedger, TaskLedger
from examples.index_files.models import Base, connect
from examples.index_files.producer import Producer
from tests.helpers import wait_until
from tests.redis_servers import RedisServer
from tests.sqs_servers import SQSServer

FILES = 60
PATIENCE = 200.0
"""Seconds for a demo that takes five."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files of both queues, and some in places that are skipped."""
    folder = tmp_path / "files"
    for number in range(FILES - 2):
        suffix = (".py", ".py", ".bin")[number % 3]
        path = folder / f"part{number % 4}" / f"file{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"line\n\x00\xff" * number)
    (folder / "empty.py").touch()
    (folder / os.fsdecode(b"not-utf8-\xff.txt")).write_text("a name that no database can hold\n")
    for skipped in (".git", ".venv-3.11", "__pycache__", ".mypy_cache"):
        (folder / skipped).mkdir()
        (folder / skipped / "skipped.py").touch()
    return folder


@pytest.fixture
def place() -> Iterator[Path]:
    """The temporary folder of the demo, with a path that is short enough for a socket."""
    place = Path(tempfile.mkdtemp(prefix="test-"))
    yield place
    shutil.rmtree(place)


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ALLIGATOR_CONN"}
    return subprocess.Popen(
        [sys.executable, "-m", "examples.index_files", *arguments],
        env=environment | {"TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(demo: subprocess.Popen[str]) -> str:
    """Wait for the end and return the rest of what the demo printed."""
    try:
        return demo.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        demo.kill()
        raise


def left_behind(place: Path) -> list[str]:
    """Return the processes and files of a demo that are still there."""
    found = [path.name for path in place.iterdir() if path.name != ".lockfile"]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            traces = [*process.cmdline(), *process.environ().values()]
            if any(str(place) in trace for trace in traces):
                found.append(str(process))
    return found


def number(pattern: str, output: str) -> int:
    match = re.search(pattern, output)
    assert match, output
    return int(match[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.postgres), "sqlite"]
)
def test_nothing_is_lost_when_a_worker_is_killed(
    folder: Path, place: Path, tmp_path: Path, database: str
) -> None:
    dsn = [f"--dsn=sqlite:///{tmp_path}/demo.db"] if database == "sqlite" else []
    demo = start(place, str(folder), *dsn)
    output = finish(demo)

    assert demo.returncode == 0, output
    assert f"{FILES} of {FILES} files have the right size, SHA-256 and line count" in output
    assert f"{FILES} of {FILES} committed tasks came to an end" in output
    assert f"0 of {FILES} tasks that were rolled back ran" in output
    assert number(r"(\d+) of them after a retry", output) >= 1
    assert number(r"(\d+) of the killed worker's tasks ran elsewhere", output) >= 1
    wait_until(lambda: not left_behind(place))
    assert not re.search(r"Warning|Traceback|password", output), output


@pytest.fixture
def redis_store(own_redis_server: RedisServer) -> str:
    return own_redis_server.dsn()


@pytest.fixture
def sqs_store(sqs_server: SQSServer) -> str:
    return sqs_server.dsn(sqs_server.prefix)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["redis", "sqs"])
def test_nothing_is_lost_where_the_tasks_are_elsewhere(
    folder: Path, place: Path, store: str, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue(f"{store}_store")
    demo = start(place, str(folder), f"--dsn={dsn}")
    output = finish(demo)

    assert demo.returncode == 0, output
    assert f"their tasks in {'SQS' if store == 'sqs' else 'Redis'}: they do not commit" in output
    assert ("may also hand out a task twice" in output) == (store == "sqs")
    assert f"{FILES} of {FILES} files have the right size, SHA-256 and line count" in output
    assert f"{FILES} of {FILES} committed tasks came to an end" in output
    assert f"right  0 of {FILES} documents that were rolled back exist" in output
    assert number(r"(\d+) of them after a retry", output) == 3
    assert number(r"(\d+) of the killed worker's tasks ran elsewhere", output) == 1
    wait_until(lambda: not left_behind(place))
    assert not re.search(r"Warning|Traceback|password", output), output
    with closing(Gator(dsn)) as gator:
        assert [gator.store.len(queue) for queue in ("code", "other")] == [0, 0]


def test_tasks_of_others_are_left_alone(folder: Path, place: Path, redis_store: str) -> None:
    with closing(Gator(redis_store, "code")) as gator:
        gator.task(find, str(folder))
        demo = start(place, str(folder), f"--dsn={redis_store}")
        output = finish(demo)
        assert demo.returncode == 1
        assert "Tasks wait in the queues code and other already (1)" in output
        assert gator.len() == 1
    wait_until(lambda: not left_behind(place))


@pytest.mark.slow
def test_every_document_of_a_database_that_stays_is_right(
    folder: Path, place: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # the second one finds the tables and the history of the first
        demo = start(place, str(folder), f"--dsn=sqlite:///{tmp_path}/demo.db", "--no-kill")
        output = finish(demo)
        assert demo.returncode == 0, output
        assert "Killed" not in output

    with closing(sqlite3.connect(tmp_path / "demo.db")) as connection:
        rows = connection.execute("select size, sha256, line_count, indexed_at from documents")
        documents = rows.fetchall()
        states = connection.execute("select distinct status, crashes from alligator_all_tasks")
        assert states.fetchall() == [("success", 0)]
    contents = [path.read_bytes() for path in find(folder)]
    assert len(contents) == FILES
    assert sorted(document[:3] for document in documents) == sorted(
        2 * [(len(data), hashlib.sha256(data).hexdigest(), data.count(b"\n")) for data in contents]
    )
    assert all(indexed_at for *_, indexed_at in documents)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_cleans_up_when_it_is_interrupted(folder: Path, place: Path, number: int) -> None:
    demo = start(place, str(folder))
    assert demo.stdout is not None
    assert any(line.startswith("Started the workers") for line in demo.stdout)
    demo.send_signal(number)
    output = finish(demo)

    assert demo.returncode == 130, output
    assert "Traceback" not in output
    wait_until(lambda: not left_behind(place))


@pytest.mark.slow
@pytest.mark.postgres
def test_it_cleans_up_when_it_is_interrupted_while_the_server_starts(
    folder: Path, place: Path
) -> None:
    demo = start(place, str(folder))
    wait_until(lambda: list(place.glob("demo-*/*")))
    demo.send_signal(signal.SIGINT)
    output = finish(demo)

    assert demo.returncode == 130, output
    assert "Traceback" not in output
    wait_until(lambda: not left_behind(place))


def test_the_checks_notice_what_was_lost(folder: Path, tmp_path: Path) -> None:
    dsn = f"sqlite:///{tmp_path}/demo.db"
    began = time.time() + 1  # the files are older
    engine, gator = connect(dsn), Gator(dsn)
    gator.open()
    Base.metadata.create_all(engine)
    enqueued = Producer(engine, gator, "run").add_all(find(folder), hang=True)

    # No worker has run, so there is nothing but what was enqueued.
    for ledger in (TaskLedger(engine, "run"), DocumentLedger(engine, gator, "run")):
        checker = Checker(engine, gator, "run", ledger.totals(), began)
        passed = [check.passed for check in checker.checks(enqueued, killed=True)]
        assert passed == [False, False, True, False]
    gator.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=1"], "to kill a worker takes a second one"),
        (["--dsn=mysql://localhost/app"], "give postgresql://"),
        (["/nowhere"], "/nowhere is no folder"),
    ],
)
def test_impossible_arguments_are_refused(place: Path, arguments: list[str], message: str) -> None:
    demo = start(place, *arguments)
    assert message in finish(demo)
    assert demo.returncode == 2


def test_an_application_table_of_the_same_name_is_left_alone(
    folder: Path, place: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "demo.db")) as connection:
        connection.execute("create table documents (id integer primary key, body text)")
    demo = start(place, str(folder), f"--dsn=sqlite:///{tmp_path}/demo.db")
    output = finish(demo)
    assert demo.returncode == 1
    assert "another table called documents" in output
