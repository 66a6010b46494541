"""The application: it adds documents, and with each the task that indexes it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from alligator_sql import Gator

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
    rolled_back: list[str] = field(default_factory=list)
    """The ids of the tasks whose transactions were rolled back."""
    hanging: tuple[int, str] | None = None
    """The ids of the document and of the task that hangs until its worker is killed."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, and what is to go wrong when it is indexed."""

    path: Path
    trouble: str | None


class Producer:
    """Adds documents.

    Args:
        engine: The application's engine.
        gator: For the queue in the same database.
        run: A text for the rows and the tasks of this run.
    """

    def __init__(self, engine: Engine, gator: Gator, run: str) -> None:
        self._engine = engine
        self._gator = gator
        self._run = run
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
        """Add documents and their tasks together, or nothing at all."""
        documents = [
            Document(run=self._run, path=_storable(file.path), trouble=file.trouble)
            for file in files
        ]
        tasks = []
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            session.add_all(documents)
            session.flush()  # gives them their ids
            queue = self._gator.using(session)
            for file, document in zip(files, documents, strict=True):
                options = queue.options(
                    queue=queue_of(file.path), retries=3, backoff=0.1, tags=[self._run]
                )
                tasks.append(options.task(index_file, document.id, str(file.path)))
            if roll_back:
                self._enqueued.rolled_back += [task.task_id for task in tasks]
                raise ChangedItsMindError
        for file, document, task in zip(files, documents, tasks, strict=True):
            self._enqueued.documents[document.id] = file.path
            if file.trouble == HANGS:
                self._enqueued.hanging = document.id, task.task_id


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
