"""The steps of the demo, from an empty database to the checks at the end."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from rich.console import Console
from rich.markup import escape
from sqlalchemy import Uuid, bindparam, inspect, make_url, text
from sqlalchemy.orm import Session

from alligator_sql import Gator
from alligator_sql.backends.sql import schema
from alligator_sql.constants import RUNNING

from . import report
from .checks import Checker
from .display import Counts, Display
from .models import Base, Document, connect
from .producer import Enqueued, Producer
from .workers import LEASE, Workers

POLL: Final = 0.02
"""Seconds between two looks at the queue."""
PATIENCE: Final = 60.0
"""Seconds without any progress after which the demo gives up."""
COUNTS: Final = text(
    "select status, count(*) as tasks from alligator_all_tasks where tags like :tag group by 1"
)
PID: Final = text("select pid from alligator_workers where id = :id").bindparams(
    bindparam("id", type_=Uuid)
)


class DemoError(Exception):
    """The demo cannot go on."""


class Demo:
    """Indexes files and shows that none gets lost.

    Args:
        console: Where to tell about it.
        dsn: The database, of the application and of the queue.
        folder: Where the files are.
        files: What to index, in the order in which the workers will serve it.
        workers: How many processes.
        concurrency: How many tasks each of them runs at a time.
        kill: Whether to kill one of them half way.
    """

    def __init__(
        self,
        console: Console,
        dsn: str,
        folder: Path,
        files: Sequence[Path],
        *,
        workers: int,
        concurrency: int,
        kill: bool,
    ) -> None:
        self._console = console
        self._dsn = dsn
        self._folder = folder
        self._files = files
        self._worker_count = workers
        self._concurrency = concurrency
        self._kill = kill
        # A database that is kept has the tasks of earlier runs, and maybe of others.
        self._run = f"demo-{uuid4().hex[:8]}"
        self._tag = f'%"{self._run}"%'
        self._engine = connect(dsn)
        self._gator = Gator(dsn)

    def run(self) -> bool:
        """Do it all and return whether everything is as it should be."""
        began = time.time()
        try:
            self._prepare()
            enqueued = self._enqueue()
            with (
                tempfile.TemporaryFile() as log,
                Workers(self._dsn, self._concurrency, log) as workers,
            ):
                pids = workers.start(self._worker_count)
                self._say(f"Started the workers: processes {', '.join(map(str, pids))}.")
                self._watch(workers, enqueued)
            report.show(self._console, self._engine, self._tag)
            passed = self._check(enqueued, began)
        finally:
            self._gator.close()
            self._engine.dispose()
        verdict = "Nothing was lost" if passed else "[red]That is not as it should be[/]"
        self._console.print(f"{verdict}. {time.time() - began:.1f} s in all.")
        return passed

    def _say(self, message: str) -> None:
        self._console.print(escape(message))

    def _prepare(self) -> None:
        """Create the tables of the queue and the one of the application."""
        if make_url(self._dsn).get_backend_name() == "postgresql":
            schema.upgrade(self._dsn)
        self._gator.open()  # which creates the tables of the queue in SQLite
        Base.metadata.create_all(self._engine)
        found = {column["name"] for column in inspect(self._engine).get_columns("documents")}
        if not found >= set(Document.__table__.columns.keys()):
            raise DemoError("The database has another table called documents: give an empty one.")
        self._say("Created the tables of the queue and the application's own.")

    def _enqueue(self) -> Enqueued:
        started = time.perf_counter()
        producer = Producer(self._engine, self._gator, self._run)
        enqueued = producer.add_all(self._files, hang=self._kill)
        seconds = time.perf_counter() - started
        self._say(
            f"Committed {len(enqueued.documents)} documents, one for each file of {self._folder}, "
            f"each together with its task ({seconds:.1f} s)."
        )
        self._say(
            f"Rolled back {len(enqueued.rolled_back)} more tasks on purpose: none of them may run."
        )
        return enqueued

    def _watch(self, workers: Workers, enqueued: Enqueued) -> None:
        """Show the progress until all is done; kill a worker half way."""
        total = len(enqueued.documents)
        to_kill = enqueued.hanging
        last, changed = None, time.monotonic()
        with Display(self._console, total) as display:
            while True:
                counts = self._counts()
                display.show(counts)
                if counts.done >= total:
                    return
                if (
                    to_kill is not None
                    and counts.done >= total // 2
                    and self._kill_busy(workers, *to_kill, counts.done)
                ):
                    to_kill = None
                if counts != last:
                    last, changed = counts, time.monotonic()
                elif time.monotonic() - changed > PATIENCE:
                    raise DemoError(f"Nothing moves any more. The workers say:\n{workers.log()}")
                if ended := workers.ended():
                    raise DemoError(f"Worker {ended[0]} ended. The workers say:\n{workers.log()}")
                time.sleep(POLL)

    def _counts(self) -> Counts:
        with self._engine.connect() as connection:
            rows = connection.execute(COUNTS, {"tag": self._tag}).all()
        found: dict[str, int] = {row.status: row.tasks for row in rows}
        waiting = sum(found.get(status, 0) for status in ("waiting", "delayed", "retrying"))
        running = found.get("running", 0)
        return Counts(waiting, running, sum(found.values()) - waiting - running)

    def _kill_busy(self, workers: Workers, document_id: int, task_id: str, done: int) -> bool:
        """Kill the worker whose task hangs, and return whether it came to that already."""
        with Session(self._engine) as session:
            document = session.get_one(Document, document_id)
            if document.trouble is not None:  # the task takes it away, and then hangs
                return False
            task = self._gator.find(task_id)
            if task is None or task.status != RUNNING:
                return False
            pid = session.scalar(PID, {"id": task.worker_id})
        if pid is None or pid not in workers:
            return False
        workers.kill(pid)
        self._say(
            f"Killed worker {pid} (SIGKILL) with {done} tasks done, while it indexed "
            f"{document.path}.\nWhen its lease of {LEASE:g} s ends, the others take its tasks."
        )
        return True

    def _check(self, enqueued: Enqueued, began: float) -> bool:
        checker = Checker(self._engine, self._gator, self._run, self._tag, began)
        checks = list(checker.checks(enqueued, killed=enqueued.hanging is not None))
        for check in checks:
            mark = "[green]right[/]" if check.passed else "[red]WRONG[/]"
            self._console.print(f"{mark}  {escape(check.text)}")
        return all(check.passed for check in checks)
