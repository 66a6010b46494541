"""The witness in a database: triggers write every change of a task into a table of the tests.

They run in the transaction that they tell of, whoever began it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from uuid import UUID

from .base import Change, End, State

TABLES: Final = (
    "create table chaos_orders (id text primary key)",
    "create table chaos_effects (task text not null)",
)
"""What the application of the tests has in the same database."""
CHANGES: Final = """
    select at, task, status, lease, worker, attempts, crashes, reason from chaos_changes
     order by seq
"""
ENDS: Final = """
    select id, status, lease, worker_id, attempts, crashes, null, null, null from alligator_tasks
    union all
    select f.id, status, lease, worker_id, attempts, crashes, reason,
           (select kind || ': ' || message from alligator_errors e where e.task_id = f.id
             order by e.lease desc limit 1),
           (select result from alligator_results r where r.id = f.id)
      from alligator_finished f
"""
_STATE: Final = ("status", "lease", "worker_id", "attempts", "crashes")
_LOG: Final = "insert into chaos_changes (task, status, lease, worker, attempts, crashes, reason)"


def postgresql() -> Iterator[str]:
    """Yield the statements that set the witness up in PostgreSQL."""
    yield from TABLES
    yield """
        create table chaos_changes (
            seq bigint generated always as identity,
            at float8 not null default extract(epoch from clock_timestamp()),
            task uuid, status int, lease bigint, worker uuid, attempts int, crashes int, reason text
        )
    """
    for table, event in _EVENTS:
        name = f"chaos_{table}_{event}"
        # Any role that changes a task must leave a trace, so the trigger writes as its owner.
        yield f"""
            create function {name}() returns trigger language plpgsql security definer as
            $$ begin {_LOG} values ({_values(table)}); return null; end $$
        """
        when = f"when ({_differs('is distinct from')})" if event == "update" else ""
        yield f"""
            create trigger {name} after {event} on alligator_{table}
               for each row {when} execute function {name}()
        """


def sqlite() -> Iterator[str]:
    """Yield the statements that set the witness up in SQLite."""
    yield from TABLES
    yield """
        create table chaos_changes (
            seq integer primary key autoincrement,
            at real not null default ((julianday('now') - 2440587.5) * 86400.0),
            task text, status int, lease int, worker text, attempts int, crashes int, reason text
        )
    """
    for table, event in _EVENTS:
        when = f"when {_differs('is not')}" if event == "update" else ""
        yield f"""
            create trigger chaos_{table}_{event} after {event} on alligator_{table} {when}
            begin {_LOG} values ({_values(table)}); end
        """


_EVENTS: Final = (("tasks", "insert"), ("tasks", "update"), ("finished", "insert"))


def _values(table: str) -> str:
    reason = "new.reason" if table == "finished" else "null"
    return ", ".join(["new.id", *(f"new.{name}" for name in _STATE), reason])


def _differs(operator: str) -> str:
    return " or ".join(f"old.{name} {operator} new.{name}" for name in _STATE)


def change_of(row: tuple[Any, ...]) -> Change:
    """Return the change in a row that ``CHANGES`` has found."""
    at, task, *state = row
    return Change(at, _hex(task), _state(state))


def end_of(row: tuple[Any, ...]) -> tuple[str, End]:
    """Return task and end in a row that ``ENDS`` has found."""
    task, *state, error, result = row
    return _hex(task), End(_state(state), error, result)


def _state(fields: Iterable[Any]) -> State:
    status, lease, worker, attempts, crashes, reason = fields
    return State(
        status, lease or 0, None if worker is None else _hex(worker), attempts, crashes, reason
    )


def _hex(value: Any) -> str:
    return UUID(str(value)).hex
