"""Whether everything that was committed has happened, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from alligator_sql import Gator

from .files import Facts, examine
from .ledgers import Totals
from .models import Document
from .producer import Enqueued

NAMED: Final = 5
"""How many of the files that are wrong are named."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at, and whether it is as it should be."""

    passed: bool
    text: str


class Checker:
    """Looks at what a run of the demo has left behind.

    Args:
        engine: The application's engine.
        gator: For the queue.
        run: What the rows of the run are marked with.
        totals: What became of its tasks.
        began: When it began, a Unix timestamp.
    """

    def __init__(
        self, engine: Engine, gator: Gator, run: str, totals: Totals, began: float
    ) -> None:
        self._gator = gator
        self._totals = totals
        self._began = began
        with Session(engine) as session:
            found = session.scalars(select(Document).where(Document.run == run))
            self._rows = {row.id: row for row in found}

    def checks(self, enqueued: Enqueued, *, killed: bool) -> Iterator[Check]:
        """Yield one check after the other."""
        yield self._files(enqueued.documents)
        yield self._tasks(len(enqueued.documents))
        yield self._rollbacks(enqueued)
        if killed:
            rescued = sum(row.was_rescued for row in self._rows.values())
            yield Check(rescued > 0, f"{rescued} of the killed worker's tasks ran elsewhere")

    def _files(self, documents: dict[int, Path]) -> Check:
        """Examine each file again and compare."""
        wrong, changed = [], 0
        for document_id, path in documents.items():
            row = self._rows.get(document_id)
            if row is not None and _facts_of(row) == _examined(path):
                continue
            if self._has_changed(path):
                changed += 1
            else:
                wrong.append(path)
        right = len(documents) - len(wrong) - changed
        parts = [f"{right} of {len(documents)} files have the right size, SHA-256 and line count"]
        if changed:
            parts.append(f"{changed} changed while the demo ran")
        parts += [f"wrong: {path}" for path in wrong[:NAMED]]
        return Check(not wrong, "; ".join(parts))

    def _has_changed(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime >= self._began
        except OSError:
            return True

    def _tasks(self, committed: int) -> Check:
        tasks, ended = self._totals.tasks, self._totals.ended
        retried = sum(row.was_retried for row in self._rows.values())
        return Check(
            tasks == ended == committed,
            f"{ended} of {committed} committed tasks came to an end, {retried} of them after a "
            "retry",
        )

    def _rollbacks(self, enqueued: Enqueued) -> Check:
        """A task of which the queue knows nothing has never been in it, and never ran."""
        tasks = enqueued.rolled_back_tasks
        stored = [task for task in tasks if self._gator.find(task) is not None]
        strangers = self._rows.keys() - enqueued.documents.keys()
        ran = f"{len(stored)} of {len(tasks)} tasks that were rolled back ran, and "
        return Check(
            not stored and not strangers,
            f"{ran if tasks else ''}{len(strangers)} of {enqueued.rolled_back} documents that "
            "were rolled back exist",
        )


def _facts_of(document: Document) -> Facts | None:
    if document.size is None or document.sha256 is None or document.line_count is None:
        return None
    return Facts(document.size, document.sha256, document.line_count)


def _examined(path: Path) -> Facts | None:
    try:
        return examine(path)
    except OSError:
        return None
