"""The application: it adds documents, and with each the task that indexes it.

Where the tasks are in the same database, both are committed together. Where they are not, the
tasks are sent after the commit: so none runs for a document that does not exist, but a crash
in between leaves documents that nobody indexes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from alligator_sql import Gator, Options, Task

from .files import queue_of
from .models import HANGS, RAISES, Document
from .tasks import index_file

CHUNK: Final = 25
"""Documents that are added in one transaction."""
FAILING_CHUNKS: Final = 3
"""Transactions that are rolled back at first; a second one then adds the same files."""
FAILING_TASKS: Final = 20
"""Of so many documents one raises at its first attempt."""


class ChangedItsMindError(Exception):
    """What rolls back a transaction, here on purpose."""


@dataclass(slots=True)
class Enqueued:
    """What was added to the database, and what was not."""

    documents: dict[int, Path] = field(default_factory=dict)
    """The committed documents by their id."""
    rolled_back: int = 0
    """How many documents were rolled back."""
    rolled_back_tasks: list[str] = field(default_factory=list)
    """The ids of the tasks that were rolled back with them."""
    hanging: int | None = None
    """The id of the document whose task hangs until its worker is killed."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, and what is to go wrong when it is indexed."""

    path: Path
    trouble: str | None


class Producer:
    """Adds documents.

    Args:
        engine: The application's engine.
        gator: For the queue.
        run: A text for the rows and the tasks of this run.
    """

    def __init__(self, engine: Engine, gator: Gator, run: str) -> None:
        self._engine = engine
        self._gator = gator
        self._run = run
        self._joins = gator.store.capabilities.transactional
        self._enqueued = Enqueued()

    def add_all(self, paths: Sequence[Path], *, hang: bool) -> Enqueued:
        """Add a document for each path; with ``hang`` the task of one of them hangs."""
        for number, chunk in enumerate(_chunks(paths, hang=hang)):
            if number < FAILING_CHUNKS:
                with suppress(ChangedItsMindError):
                    self._add(chunk, roll_back=True)
            self._add(chunk)
        return self._enqueued

    def _add(self, files: Sequence[File], *, roll_back: bool = False) -> None:
        """Add documents and their tasks, or nothing at all."""
        documents = [
            Document(run=self._run, path=_storable(file.path), trouble=file.trouble)
            for file in files
        ]
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.add_all(documents)
            session.flush()  # gives them their ids
            if self._joins:
                tasks = self._enqueue(self._gator.using(session).options, files, documents)
            if roll_back:
                self._enqueued.rolled_back += len(documents)
                if self._joins:
                    self._enqueued.rolled_back_tasks += [task.task_id for task in tasks]
                raise ChangedItsMindError
        if not self._joins:
            self._enqueue(self._gator.options, files, documents)
        for file, document in zip(files, documents, strict=True):
            self._enqueued.documents[document.id] = file.path
            if file.trouble == HANGS:
                self._enqueued.hanging = document.id

    def _enqueue(
        self,
        options: Callable[..., Options],
        files: Sequence[File],
        documents: Sequence[Document],
    ) -> list[Task]:
        # Tags are for reports, and only a store that can be asked for tasks has them.
        tags = [self._run] if self._gator.store.capabilities.find else []
        tasks = []
        for file, document in zip(files, documents, strict=True):
            queue = options(queue=queue_of(file.path), retries=3, backoff=0.1, tags=tags)
            tasks.append(queue.task(index_file, document.id, str(file.path)))
        return tasks


def _chunks(paths: Sequence[Path], *, hang: bool) -> Iterator[list[File]]:
    # The workers come to the one that hangs when they have done half of them.
    hanging = (len(paths) - 1) // 2 if hang else None
    files = [
        File(path, HANGS if number == hanging else None if number % FAILING_TASKS else RAISES)
        for number, path in enumerate(paths)
    ]
    for start in range(0, len(files), CHUNK):
        yield files[start : start + CHUNK]


def _storable(path: Path) -> str:
    """Return a path as a database can hold it: names of files may be no valid UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()
