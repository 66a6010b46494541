"""The views for reports: the same columns on both databases, statuses as words.

Times are ``timestamptz`` on PostgreSQL and UTC text on SQLite; the durations are seconds
on both.
"""

from collections.abc import Callable

from ...constants import RUNNING, STATUS_NAMES
from .tables import Names

ALL_TASKS = "all_tasks"
QUEUE_DEPTH = "queue_depth"
VIEWS = (ALL_TASKS, QUEUE_DEPTH)

Moment = Callable[[str], str]
"""Column name to an expression that shows a moment."""
Seconds = Callable[[str, str], str]
"""Start and end to an expression for the seconds between them."""


def definitions(names: Names, dialect: str) -> dict[str, str]:
    """Return the ``CREATE VIEW`` statement of each view, by its full name."""
    seconds = _sqlite_seconds if dialect == "sqlite" else _postgres_seconds
    moment = _sqlite_moment if dialect == "sqlite" else _postgres_moment
    now = "((julianday('now') - 2440587.5) * 86400.0)" if dialect == "sqlite" else "now()"
    return {
        names.table(ALL_TASKS): _all_tasks(names, moment, seconds),
        names.table(QUEUE_DEPTH): _queue_depth(names, now, seconds),
    }


def _all_tasks(names: Names, moment: Moment, seconds: Seconds) -> str:
    words = " ".join(f"when {number} then '{word}'" for number, word in STATUS_NAMES.items())

    def part(table: str, finished_at: str, reason: str, more: str) -> str:
        run_seconds = seconds("started_at", finished_at) if finished_at != "null" else "null"
        return (
            f"select id, queue, func, case status {words} end as status, "
            "priority, attempts, crashes, "
            f"{moment('created_at')} as created_at, {moment('run_at')} as run_at, "
            f"{moment('started_at')} as started_at, {moment(finished_at)} as finished_at, "
            f"{seconds('run_at', 'started_at')} as wait_seconds, {run_seconds} as run_seconds, "
            f"worker_id, unique_key, tags, {reason} as reason, {more} from {names.table(table)}"
        )

    running = f"{moment('canceled_at')} as canceled_at, progress, progress_message"
    nothing = "null as canceled_at, null as progress, null as progress_message"
    live = part("tasks", "null", "null", running)
    ended = part("finished", "finished_at", "reason", nothing)
    return f"create view {names.table(ALL_TASKS)} as {live} union all {ended}"


def _queue_depth(names: Names, now: str, seconds: Seconds) -> str:
    waits = f"status <> {RUNNING}"
    return (
        f"create view {names.table(QUEUE_DEPTH)} as select queue, "
        f"sum(case when {waits} and run_at <= {now} then 1 else 0 end) as due, "
        f"sum(case when {waits} and run_at > {now} then 1 else 0 end) as later, "
        f"sum(case when {waits} then 0 else 1 end) as running, "
        f"max(case when {waits} and run_at <= {now} then {seconds('run_at', now)} end) "
        f"as oldest_due_seconds, "
        f"exists (select 1 from {names.table('queues')} "
        f"where name = queue and paused_at is not null) as paused "
        f"from {names.table('tasks')} group by queue"
    )


def _postgres_moment(column: str) -> str:
    return "null::timestamptz" if column == "null" else column


def _sqlite_moment(column: str) -> str:
    return column if column == "null" else f"strftime('%Y-%m-%d %H:%M:%f', {column}, 'unixepoch')"


def _postgres_seconds(start: str, end: str) -> str:
    return f"extract(epoch from {end} - {start})::float8"


def _sqlite_seconds(start: str, end: str) -> str:
    return f"({end} - {start})"
