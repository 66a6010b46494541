"""The witness in a database: triggers write every change of a task into a table of the tests.

They run in the transaction that they tell of, whoever began it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Final
from uuid import UUID

from .base import Change, End, State, Store

_TABLES: Final = (
    "create table chaos_orders (id text primary key)",
    "create table chaos_effects (task text not null)",
)
"""What the application of the tests has in the same database."""
_INDEX: Final = "create index chaos_changes_of_a_task on chaos_changes (task, seq)"
_CHANGES: Final = """
    select at, task, status, lease, worker, attempts, crashes, reason from chaos_changes
     order by seq
"""
_ENDS: Final = """
    select id, status, lease, worker_id, attempts, crashes, null, null, null from alligator_tasks
    union all
    select f.id, status,
           coalesce(lease, (select c.lease from chaos_changes c where c.task = f.id
                             order by c.seq desc limit 1)),
           worker_id, attempts, crashes, reason,
           (select kind || ': ' || message from alligator_errors e where e.task_id = f.id
             order by e.lease desc limit 1),
           (select result from alligator_results r where r.id = f.id)
      from alligator_finished f
"""
_STATE: Final = ("status", "lease", "worker_id", "attempts", "crashes")
_LOG: Final = "insert into chaos_changes (task, status, lease, worker, attempts, crashes, reason)"


def postgresql() -> Iterator[str]:
    """Yield the statements that set the witness up in PostgreSQL."""
    yield from _TABLES
    yield """
        create table chaos_changes (
            seq bigint generated always as identity,
            at float8 not null default extract(epoch from clock_timestamp()),
            task uuid, status int, lease bigint, worker uuid, attempts int, crashes int, reason text
        )
    """
    yield _INDEX
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
    yield from _TABLES
    yield """
        create table chaos_changes (
            seq integer primary key autoincrement,
            at real not null default ((julianday('now') - 2440587.5) * 86400.0),
            task text, status int, lease int, worker text, attempts int, crashes int, reason text
        )
    """
    yield _INDEX
    for table, event in _EVENTS:
        when = f"when {_differs('is not')}" if event == "update" else ""
        yield f"""
            create trigger chaos_{table}_{event} after {event} on alligator_{table} {when}
            begin {_LOG} values ({_values(table)}); end
        """


_EVENTS: Final = (("tasks", "insert"), ("tasks", "update"), ("finished", "insert"))


def _values(table: str) -> str:
    if table == "tasks":
        return ", ".join(["new.id", *(f"new.{name}" for name in _STATE), "null"])
    # The history keeps no lease of a success: it is that of the claim.
    before = "select lease from chaos_changes where task = new.id order by seq desc limit 1"
    state = [f"coalesce(new.lease, ({before}))" if x == "lease" else f"new.{x}" for x in _STATE]
    return ", ".join(["new.id", *state, "new.reason"])


def _differs(operator: str) -> str:
    return " or ".join(f"old.{name} {operator} new.{name}" for name in _STATE)


class Database(Store):
    """A store whose witness are triggers."""

    @abstractmethod
    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction of its own, and return its rows."""

    def unfinished(self) -> int:
        """Return how many live tasks there are."""
        return int(self.execute("select count(*) from alligator_tasks")[0][0])

    def changes(self) -> list[Change]:
        """Return what the triggers have written."""
        return [
            Change(at, _hex(task), _state(state)) for at, task, *state in self.execute(_CHANGES)
        ]

    def ends(self) -> dict[str, End]:
        """Return the rows of the tasks, live and finished."""
        return {
            _hex(task): End(_state(state), error, result)
            for task, *state, error, result in self.execute(_ENDS)
        }

    def orders(self) -> set[str]:
        """Return the rows of the application."""
        return {row[0] for row in self.execute("select id from chaos_orders")}

    def effects(self) -> list[str]:
        """Return the effects."""
        return [row[0] for row in self.execute("select task from chaos_effects")]


def _state(fields: Iterable[Any]) -> State:
    status, lease, worker, attempts, crashes, reason = fields
    return State(
        status, lease or 0, None if worker is None else _hex(worker), attempts, crashes, reason
    )


def _hex(value: Any) -> str:
    return UUID(str(value)).hex
