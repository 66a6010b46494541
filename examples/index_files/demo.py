"""The steps of the demo, from an empty database to the checks at the end."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from rich.console import Console
from rich.markup import escape
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from alligator_sql import Gator
from alligator_sql.backends import scheme_of
from alligator_sql.backends.sql import schema
from alligator_sql.backends.sqs import queues

from .checks import Checker
from .display import Display
from .files import QUEUES
from .ledgers import DocumentLedger, Ledger, TaskLedger
from .models import Base, Document, connect
from .producer import Enqueued, Producer
from .workers import LEASE, Workers

PATIENCE: Final = 60.0
"""Seconds without any progress after which the demo gives up."""


class DemoError(Exception):
    """The demo cannot go on."""


class Demo:
    """Indexes files and shows that none gets lost.

    Args:
        console: Where to tell about it.
        dsn: Where the queue is.
        documents: The database of the application; the same one, where the queue can join its
            transactions.
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
        documents: str,
        folder: Path,
        files: Sequence[Path],
        *,
        workers: int,
        concurrency: int,
        kill: bool,
    ) -> None:
        self._console = console
        self._dsn = dsn
        self._documents = documents
        self._folder = folder
        self._files = files
        self._worker_count = workers
        self._concurrency = concurrency
        self._kill = kill
        # A database that is kept has the tasks of earlier runs, and maybe of others.
        self._run = f"demo-{uuid4().hex[:8]}"
        self._engine = connect(documents)
        self._gator = Gator(dsn)
        self._joins = self._gator.store.capabilities.transactional
        # What a killed worker had done, but not deleted, comes back when its lease ends, or
        # after another one, when a poll of that worker still got it.
        self._aftermath = 0.0 if self._gator.store.capabilities.fence else 2 * LEASE
        self._ledger: Ledger = (
            TaskLedger(self._engine, self._run)
            if self._joins
            else DocumentLedger(self._engine, self._gator, self._run)
        )

    def run(self) -> bool:
        """Do it all and return whether everything is as it should be."""
        began = time.time()
        try:
            self._prepare()
            enqueued = self._enqueue()
            with (
                tempfile.TemporaryFile() as log,
                Workers(self._dsn, self._documents, self._concurrency, log) as workers,
            ):
                pids = workers.start(self._worker_count)
                self._say(f"Started the workers: processes {', '.join(map(str, pids))}.")
                self._watch(workers, enqueued)
            self._ledger.show(self._console)
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
        """Create what the queue needs, and the table of the application."""
        scheme = scheme_of(self._dsn)
        if scheme == "postgresql":
            schema.upgrade(self._dsn)
        elif scheme == "sqs":
            queues.create(self._dsn, QUEUES)
        self._gator.open()  # which creates the tables of the queue in SQLite
        Base.metadata.create_all(self._engine)
        found = {column["name"] for column in inspect(self._engine).get_columns("documents")}
        if not found >= set(Document.__table__.columns.keys()):
            raise DemoError("The database has another table called documents: give an empty one.")
        if isinstance(self._ledger, DocumentLedger):
            self._meet_other_store(self._ledger)
        else:
            self._say("Created the tables of the queue and the application's own.")

    def _meet_other_store(self, ledger: DocumentLedger) -> None:
        """Make sure that its queues are ours alone, and say what it cannot do."""
        if waiting := ledger.waiting():
            raise DemoError(
                f"Tasks wait in the queues {' and '.join(QUEUES)} already ({waiting}), and the "
                "demo would run them: give another Redis database, or another ?prefix= of SQS."
            )
        name = self._gator.store.name
        self._say(
            f"The documents are in SQLite, their tasks in {name}: they do not commit together. "
            "A crash\nbetween the two would leave documents that nobody indexes. In PostgreSQL or "
            "SQLite it could not."
        )
        if not self._gator.store.capabilities.fence:
            self._say(f"{name} may also hand out a task twice: here that does no harm.")

    def _enqueue(self) -> Enqueued:
        started = time.perf_counter()
        producer = Producer(self._engine, self._gator, self._run)
        enqueued = producer.add_all(self._files, hang=self._kill)
        seconds = time.perf_counter() - started
        count = len(enqueued.documents)
        how = "each together with its task" if self._joins else "and sent their tasks after that"
        self._say(
            f"Committed {count} documents, one for each file of {self._folder}, {how} "
            f"({seconds:.1f} s)."
        )
        what = "tasks on purpose: none of them may run" if self._joins else "documents on purpose"
        self._say(f"Rolled back {enqueued.rolled_back} more {what}.")
        return enqueued

    def _watch(self, workers: Workers, enqueued: Enqueued) -> None:
        """Show the progress until all is done; kill a worker half way."""
        total = len(enqueued.documents)
        to_kill = enqueued.hanging
        last, changed = None, time.monotonic()
        settled_at = changed
        with Display(self._console, total) as display:
            while True:
                counts = self._ledger.counts()
                display.show(counts)
                if counts.done >= total and not counts.waiting and time.monotonic() >= settled_at:
                    return
                if to_kill is not None and self._kill_busy(workers, to_kill, counts.done):
                    to_kill = None
                    settled_at = time.monotonic() + self._aftermath
                if counts != last:
                    last, changed = counts, time.monotonic()
                elif time.monotonic() - changed > PATIENCE:
                    raise DemoError(f"Nothing moves any more. The workers say:\n{workers.log()}")
                if ended := workers.ended():
                    raise DemoError(f"Worker {ended[0]} ended. The workers say:\n{workers.log()}")
                time.sleep(self._ledger.pause)

    def _kill_busy(self, workers: Workers, document_id: int, done: int) -> bool:
        """Kill the worker whose task hangs, and return whether it came to that already."""
        with Session(self._engine) as session:
            document = session.get_one(Document, document_id)
        pid = document.trouble_met_by
        if pid is None or pid not in workers:
            return False
        workers.kill(pid)
        self._say(
            f"Killed worker {pid} (SIGKILL) with {done} tasks done, while it indexed "
            f"{document.path}.\nWhen its lease of {LEASE:g} s ends, the others take its tasks."
        )
        return True

    def _check(self, enqueued: Enqueued, began: float) -> bool:
        totals = self._ledger.totals()
        checker = Checker(self._engine, self._gator, self._run, totals, began)
        checks = list(checker.checks(enqueued, killed=enqueued.hanging is not None))
        for check in checks:
            mark = "[green]right[/]" if check.passed else "[red]WRONG[/]"
            self._console.print(f"{mark}  {escape(check.text)}")
        return all(check.passed for check in checks)
