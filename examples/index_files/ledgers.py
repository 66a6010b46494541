"""How far a run of the demo has come, as the queue says, or the documents where it cannot."""

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from rich.console import Console
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from alligator_sql import Gator

from . import report
from .display import Counts
from .files import QUEUES
from .models import Document

COUNTS: Final = text(
    "select status, count(*) as tasks from alligator_all_tasks where tags like :tag group by 1"
)
TOTALS: Final = text("""
    select count(*) as tasks,
           count(case when status in ('success', 'failed') then 1 end) as ended
      from alligator_all_tasks
     where tags like :tag
""")


@dataclass(frozen=True, slots=True)
class Totals:
    """How many tasks there were, and how many came to an end."""

    tasks: int
    ended: int


class Ledger(Protocol):
    """What the demo knows about its tasks.

    Attributes:
        pause: Seconds between two looks.
    """

    pause: ClassVar[float]

    def counts(self) -> Counts:
        """Return how many tasks are in which state."""
        ...

    def totals(self) -> Totals:
        """Return what became of them all."""
        ...

    def show(self, console: Console) -> None:
        """Print a report."""
        ...


class TaskLedger:
    """Asks the queue, where it is a part of the application's database.

    Args:
        engine: The application's engine.
        run: The tag of the tasks. A database that is kept has those of earlier runs too.
    """

    pause: ClassVar[float] = 0.02

    def __init__(self, engine: Engine, run: str) -> None:
        self._engine = engine
        self._tag = f'%"{run}"%'

    def counts(self) -> Counts:
        with self._engine.connect() as connection:
            rows = connection.execute(COUNTS, {"tag": self._tag}).all()
        found: dict[str, int] = {row.status: row.tasks for row in rows}
        waiting = sum(found.get(status, 0) for status in ("waiting", "delayed", "retrying"))
        running = found.get("running", 0)
        return Counts(waiting, running, sum(found.values()) - waiting - running)

    def totals(self) -> Totals:
        with self._engine.connect() as connection:
            row = connection.execute(TOTALS, {"tag": self._tag}).one()
        return Totals(row.tasks, row.ended)

    def show(self, console: Console) -> None:
        report.show_tasks(console, self._engine, self._tag)


class DocumentLedger:
    """Asks the documents, where the tasks are in another store.

    Args:
        engine: The application's engine.
        gator: For the lengths of the queues.
        run: What the documents of the run are marked with.
    """

    # Each look is a request or two to the store.
    pause: ClassVar[float] = 0.2

    def __init__(self, engine: Engine, gator: Gator, run: str) -> None:
        self._engine = engine
        self._gator = gator
        self._is_ours = Document.run == run

    def counts(self) -> Counts:
        waiting, totals = self.waiting(), self.totals()
        running = max(0, totals.tasks - totals.ended - waiting)
        return Counts(waiting, running, totals.ended)

    def waiting(self) -> int:
        """Return how many tasks the queues have, of whatever run."""
        return sum(self._gator.store.len(queue) for queue in QUEUES)

    def totals(self) -> Totals:
        counting = select(func.count(), func.count(Document.indexed_at)).where(self._is_ours)
        with Session(self._engine) as session:
            return Totals(*session.execute(counting).one())

    def show(self, console: Console) -> None:
        with Session(self._engine) as session:
            documents = session.scalars(select(Document).where(self._is_ours)).all()
        report.show_documents(console, documents)
