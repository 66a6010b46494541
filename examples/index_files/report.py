"""What became of the tasks, in one query that works as well in psql or your dashboard.

Redis and SQS cannot be asked like that: there the documents tell what they know.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from .files import QUEUES, queue_of
from .models import Document

# Any reporting tool can run these; they read nothing but a view. Leave out the line with
# the tag to see all tasks, or ask for `created_at >= ...` instead.
REPORT: Final = {
    "postgresql": """
        select queue,
               count(*) filter (where status = 'success') as done,
               count(*) filter (where status = 'failed') as failed,
               -- a crash of the worker costs an attempt too, but is nothing that failed
               count(*) filter (where attempts - crashes > 1) as retried,
               count(*) filter (where crashes > 0) as crashed,
               -- seconds from being due to the start, and from the start to the end
               percentile_cont(0.50) within group (order by wait_seconds) as wait_p50,
               percentile_cont(0.95) within group (order by wait_seconds) as wait_p95,
               percentile_cont(0.50) within group (order by run_seconds) as run_p50,
               percentile_cont(0.95) within group (order by run_seconds) as run_p95
          from alligator_all_tasks
         where tags like :tag
         group by queue
         order by queue
    """,
    "sqlite": """
        -- SQLite has no percentiles: take the least value that so many of all do not exceed
        with ranked as (
            select *,
                   cume_dist() over by_wait as wait_rank,
                   cume_dist() over by_run as run_rank
              from alligator_all_tasks
             where tags like :tag
            window by_wait as (partition by queue order by wait_seconds),
                   by_run as (partition by queue order by run_seconds)
        )
        select queue,
               count(*) filter (where status = 'success') as done,
               count(*) filter (where status = 'failed') as failed,
               -- a crash of the worker costs an attempt too, but is nothing that failed
               count(*) filter (where attempts - crashes > 1) as retried,
               count(*) filter (where crashes > 0) as crashed,
               -- seconds from being due to the start, and from the start to the end
               min(wait_seconds) filter (where wait_rank >= 0.50) as wait_p50,
               min(wait_seconds) filter (where wait_rank >= 0.95) as wait_p95,
               min(run_seconds) filter (where run_rank >= 0.50) as run_p50,
               min(run_seconds) filter (where run_rank >= 0.95) as run_p95
          from ranked
         group by queue
         order by queue
    """,
}
"""The report by database; ``tag`` is a pattern for the JSON list of a task's tags."""


def show_tasks(console: Console, engine: Engine, tag: str) -> None:
    """Print the report about the tasks with ``tag``."""
    with engine.connect() as connection:
        rows = connection.execute(text(REPORT[engine.dialect.name]), {"tag": tag}).mappings().all()
    table = _table("done", "failed", "retried", "crashed", "wait p50", "p95", "run p50", "p95")
    for row in rows:
        numbers = [str(row[name]) for name in ("done", "failed", "retried", "crashed")]
        times = [_shown(row[name]) for name in ("wait_p50", "wait_p95", "run_p50", "run_p95")]
        table.add_row(row["queue"], *numbers, *times)
    console.print(table)


def show_documents(console: Console, documents: Sequence[Document]) -> None:
    """Print what the documents say about their tasks."""
    table = _table("done", "retried", "rescued")
    for queue in QUEUES:
        done = [one for one in documents if one.indexed_at and queue_of(Path(one.path)) == queue]
        retried = sum(document.was_retried for document in done)
        rescued = sum(document.was_rescued for document in done)
        table.add_row(queue, str(len(done)), str(retried), str(rescued))
    console.print(table)


def _table(*numbers: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("queue")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _shown(seconds: float | None) -> str:
    if seconds is None:  # none of them was ever started
        return "-"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
