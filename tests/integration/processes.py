"""Workers as processes of their own, and how tests and tasks talk to each other."""

import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy import text

from alligator_sql import Gator
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.messages import TaskRecord
from tests.helpers import PATIENCE, wait_until

from .commands import MODULE, environment

PROJECT = Path(__file__).parents[2]
LOOKS_HOURLY = """
from alligator_sql import Gator, Worker
from alligator_sql.workers import polling

polling.LONGEST_DEAF = polling.LONGEST_LISTENING = 3600.0
Worker(Gator(), nap_time=40 * 3600.0, lease=3600.0).run_forever()
"""
"""A worker that finds by itself what is there at its start: all else has to wake it.

In SQLite a beat of its lease would do that, too.
"""
WITH_CHANGES = """
import sys

if any(word.startswith("alligator_sql.cli") for word in sys.orig_argv):
    from alligator_sql.workers import consumer, prefetch, supervisor

    {}
"""
"""Imported by every interpreter at its start: a worker gets other settings than it is made with."""
UNHURRIED = "consumer.LAST_WORDS = supervisor.STOP_PATIENCE = 3600.0"
"""The change with which workers wait for what they have told to stop."""


class Process:
    """A worker, with its log in a file."""

    def __init__(
        self,
        log: Path,
        dsn: str,
        *arguments: str,
        program: Any = None,
        path: str = "",
        **options: Any,
    ) -> None:
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                program or [*MODULE, "worker", *arguments],
                env=environment(ALLIGATOR_CONN=dsn, PYTHONPATH=f"{path}:{PROJECT}".lstrip(":")),
                cwd=PROJECT,
                stderr=stderr,
                **options,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, words: str) -> None:
        """Wait until its log has ``words``."""
        wait_until(lambda: words in self.log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end and return the exit code."""
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Files:
    """Files by which tasks and tests tell each other what happens."""

    def __init__(self, folder: Path) -> None:
        self.started = str(folder / "started")
        self.until = str(folder / "until")
        self.done = str(folder / "done")

    def lines(self, path: str) -> list[str]:
        return Path(path).read_text().split() if Path(path).exists() else []

    def wait_for_done(self, count: int) -> None:
        wait_until(lambda: len(self.lines(self.done)) >= count)

    def let_go(self) -> None:
        Path(self.until).touch()


def end_leases(gator: Gator) -> None:
    """End the leases of all workers in a SQL store, as time does."""
    assert isinstance(gator.store, SQLBackend)
    table = gator.store.names.table("workers")
    with gator.store.engine.begin() as connection:
        connection.execute(text(f"update {table} set expires_at = started_at"))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may still be in the table of processes."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def ended(gator: Gator, task_id: str) -> TaskRecord:
    """Return the record of a task once it has ended."""

    def record() -> TaskRecord:
        found = gator.find(task_id)
        assert found is not None
        return found

    wait_until(lambda: record().finished_at)
    return record()
