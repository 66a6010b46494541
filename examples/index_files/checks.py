"""Whether everything that was committed has happened, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from alligator_sql import Gator

from .files import Facts, examine
from .models import Document
from .producer import Enqueued

NAMED: Final = 5
"""How many of the files that are wrong are named."""
TOTALS: Final = """
    select count(*) as tasks,
           count(case when status in ('success', 'failed') then 1 end) as ended,
           count(case when attempts - crashes > 1 then 1 end) as retried,
           count(case when crashes > 0 then 1 end) as rescued
      from alligator_all_tasks
     where tags like :tag
"""


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
        tag: A pattern for the tags of its tasks.
        began: When it began, a Unix timestamp.
    """

    def __init__(self, engine: Engine, gator: Gator, run: str, tag: str, began: float) -> None:
        self._gator = gator
        self._began = began
        with Session(engine) as session:
            found = session.scalars(select(Document).where(Document.run == run))
            self._rows = {row.id: row for row in found}
            self._totals = session.execute(text(TOTALS), {"tag": tag}).one()

    def checks(self, enqueued: Enqueued, *, killed: bool) -> Iterator[Check]:
        """Yield one check after the other."""
        yield self._files(enqueued.documents)
        yield self._tasks(len(enqueued.documents))
        yield self._rollbacks(enqueued)
        if killed:
            rescued = self._totals.rescued
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
        totals = self._totals
        return Check(
            totals.tasks == totals.ended == committed,
            f"{totals.ended} of {committed} committed tasks came to an end, {totals.retried} of "
            "them after a retry",
        )

    def _rollbacks(self, enqueued: Enqueued) -> Check:
        """A task of which the queue knows nothing has never been in it, and never ran."""
        stored = [task for task in enqueued.rolled_back if self._gator.find(task) is not None]
        strangers = self._rows.keys() - enqueued.documents.keys()
        return Check(
            not stored and not strangers,
            f"{len(stored)} of {len(enqueued.rolled_back)} tasks that were rolled back ran, and "
            f"{len(strangers)} of their documents exist",
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
