"""The statements for SQLite."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import ClassVar
from uuid import UUID

from ...constants import RUNNING, SUCCESS
from ...messages import Claim, Message, Progress
from . import single
from .dialects import (
    CLAIMABLE_SQL,
    Ended,
    Parameters,
    PutBack,
    Steps,
    absolute,
    claim_of,
    first_status,
    in_order,
    priorities_sql,
    relative,
    tags_text,
)
from .payloads import encode, pack
from .tables import Names

NOW = "((julianday('now') - 2440587.5) * 86400.0)"
_OPTIONS = {
    "delay": ("run_at", f"{NOW} + :delay"),
    "run_at": ("run_at", f"max({NOW}, :run_at)"),
    "expires_in": ("expires_at", f"{NOW} + :expires_in"),
    "expires_at": ("expires_at", ":expires_at"),
    "tags": ("tags", ":tags"),
}
"""The column of each option of a single task, and its value."""


class SQLite:
    """Statements for SQLite 3.35 and later.

    It has one writer at a time, so nothing needs a row lock, and no dead entries, so claims
    need no marks. A batch travels as one JSON text.
    """

    name: ClassVar[str] = "sqlite"
    planned_once = frozenset[str]()
    now: ClassVar[str] = NOW

    def __init__(self, names: Names) -> None:
        tasks, payloads, finished, workers, queues = (
            names.table(table) for table in ("tasks", "payloads", "finished", "workers", "queues")
        )
        now, m, d = self.now, partial(_field, "m"), partial(_field, "d")
        # Each statement starts with INSERT: that is how the sqlite3 module knows that it
        # has to open a transaction. The order is that of PostgreSQL, for the same reasons.
        self._enqueue = f"""insert into {tasks}
                (id, queue, priority, run_at, created_at, expires_at, status, func, unique_key,
                 tags)
            select {m("id")}, {m("queue")}, {m("priority")},
                   max({now}, coalesce({m("run_at")}, {now} + {m("delay")})),
                   {now},
                   coalesce({m("expires_at")}, {now} + {m("expires_in")}),
                   {m("status")}, {m("func")}, {m("unique_key")},
                   {m("tags")}
              from json_each(:messages) as m
             where not exists (select 1 from {payloads} p where p.id = {m("id")})
             order by m.key
            on conflict do nothing
            returning id
        """
        self._enqueue_payloads = f"""insert into {payloads} (id, payload)
            select {m("id")}, {m("payload")}
              from json_each(:messages) as m
             where {m("id")} in (select value from json_each(:new))
            on conflict do nothing
        """
        self._enqueue_one_payload = f"""insert into {payloads} (id, payload) values (:id, :payload)
            on conflict do nothing
            returning id
        """
        self._insert_one = cache(partial(insert_one, tasks))
        self._priorities = priorities_sql(tasks, self.each("queues"))
        held = f"""id, queue, func, lease, attempts, crashes,
                   (select p.payload from {payloads} p where p.id = {tasks}.id),
                   {now} - created_at, expires_at - {now}, suspect, run_at"""
        take = f"""update {tasks}
               set status = {RUNNING}, attempts = attempts + 1, lease = lease + 1,
                   worker_id = :worker"""
        self._claim = f"""{take},
                   started_at = case when :begins and not suspect then {now} end
             where id in (select id from {tasks}
                           where queue = :queue and priority = :priority and run_at <= {now}
                             and status in ({CLAIMABLE_SQL})
                             and exists (select 1 from {workers}
                                          where id = :worker and expires_at > {now})
                             and not exists (select 1 from {queues}
                                              where name = :queue and paused_at is not null)
                           order by run_at, id
                           limit :limit)
            returning {held}
        """
        self._claim_one = f"""{take}, started_at = {now}, suspect = 0
             where id = :id and status in ({CLAIMABLE_SQL})
            returning {held}
        """
        runs = f"worker_id = :worker and status = {RUNNING}"
        fence = f"""join {tasks} t on t.id = {d("id")} and t.lease = {d("lease")}
             where t.worker_id = :worker and t.status = {RUNNING}"""
        self._begin = f"""update {tasks}
               set started_at = {now}, suspect = 0
             where id in (select t.id from json_each(:rows) as d {fence})
            returning id
        """
        self._end = f"""insert into {finished}
                (id, queue, func, priority, attempts, crashes, created_at, run_at, started_at,
                 worker_id, unique_key, tags, lease, status, reason, finished_at)
            select t.id, t.queue, t.func, t.priority, t.attempts - {d("refund")},
                   t.crashes, t.created_at, t.run_at,
                   coalesce({now} - {d("age")} - {d("seconds")}, t.started_at),
                   t.worker_id, t.unique_key, t.tags,
                   case when {d("status")} <> {SUCCESS} then t.lease end,
                   {d("status")}, {d("reason")}, {now} - {d("age")}
              from json_each(:rows) as d {fence}
            on conflict do nothing
        """
        self._may_complete = f"""select 1 from json_each(:rows) as d {fence}
               and exists (select 1 from {workers} where id = :worker and expires_at > {now})
        """
        # Nobody writes between them, so the fence lets the same rows through.
        self._forget = f"""delete from {tasks}
             where id in (select t.id from json_each(:rows) as d {fence})
            returning id
        """
        self._put_back = f"""update {tasks}
               set status = d.status, attempts = attempts - d.refund,
                   run_at = coalesce({now} + d.delay, run_at),
                   suspect = coalesce(d.suspect, {tasks}.suspect),
                   worker_id = null, started_at = null, progress = null, progress_message = null
              from (select t.id, {d("status")} as status, {d("refund")} as refund,
                           {d("delay")} as delay, {d("suspect")} as suspect
                      from json_each(:rows) as d {fence} and t.canceled_at is null) as d
             where {tasks}.id = d.id
            returning id
        """
        self._canceled = f"""select id from {tasks}
             where id in (select value from json_each(:ids)) and {runs}
               and canceled_at is not null
        """
        self._report = f"""update {tasks}
               set progress = d.percent, progress_message = d.message
              from (select {d("id")} as id, {d("percent")} as percent, {d("message")} as message
                      from json_each(:rows) as d) as d
             where {tasks}.id = d.id and {runs}
        """

    def later(self, parameter: str) -> str:
        """Return the SQL for now plus the seconds in ``parameter``."""
        return f"{self.now} + :{parameter}"

    def each(self, parameter: str) -> str:
        """Return the SQL for a table ``q`` with a ``value`` for each of some :meth:`names`."""
        return f"json_each(:{parameter}) as q"

    def names(self, names: Sequence[str]) -> str:
        """Return ``names`` as one parameter."""
        return json.dumps(names)

    def enqueue(self, messages: Sequence[Message], channel: str | None) -> Steps[set[UUID]]:
        """Store messages and return the ids that are new; nobody needs to be notified."""
        if single.suits(messages):
            return self._enqueue_one(messages[0])
        return self._enqueue_many(messages)

    def _enqueue_many(self, messages: Sequence[Message]) -> Steps[set[UUID]]:
        batch = json.dumps([_row(message) for message in messages])
        new = [row[0] for row in (yield self._enqueue, {"messages": batch})]
        if new:
            yield self._enqueue_payloads, {"messages": batch, "new": json.dumps(new)}
        return {UUID(value) for value in new}

    def _enqueue_one(self, message: Message) -> Steps[set[UUID]]:
        options = single.options_of(message)
        values = single.values_of(message, message.id.hex, options)
        # The payload goes first: where no unique key matters, its primary key decides alone
        # whether the id is known, live or ended.
        if not (yield self._enqueue_one_payload, values):
            return set()
        yield self._insert_one(tuple(options)), values
        return {message.id}

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        *,
        thorough: bool = False,
        begins: bool = False,
    ) -> Steps[list[Claim]]:
        """Hold up to ``limit`` due tasks, place by place; every claim is thorough."""
        claims: list[Claim] = []
        found = yield self._priorities, {"queues": self.names(queues)}
        for queue, priority in in_order(queues, found):
            rows = yield (
                self._claim,
                {
                    "queue": queue,
                    "priority": priority,
                    "limit": limit - len(claims),
                    "worker": worker.hex,
                    "begins": begins,
                },
            )
            ordered = sorted(rows, key=lambda row: (row[10], row[0]))
            claims += [claim_of(row, UUID(row[0]), worker) for row in ordered]
            if len(claims) >= limit:
                break
        return claims

    def claim_one(self, task_id: UUID, worker: UUID) -> Steps[list[Claim]]:
        """Hold one waiting task, due or not; it starts now."""
        rows = yield self._claim_one, {"id": task_id.hex, "worker": worker.hex}
        return [claim_of(row, UUID(row[0]), worker) for row in rows]

    def begin(self, worker: UUID, claims: Sequence[Claim]) -> Steps[set[UUID]]:
        """Note that claims of ``worker`` start now; return which are still held."""
        batch = json.dumps([{"id": claim.id.hex, "lease": claim.lease} for claim in claims])
        begun = yield self._begin, {"worker": worker.hex, "rows": batch}
        return {UUID(row[0]) for row in begun}

    def end(self, worker: UUID, rows: Sequence[Ended]) -> Steps[set[UUID]]:
        """Move tasks that ``worker`` holds to the finished table; return which."""
        parameters = _held(worker, rows)
        yield self._end, parameters
        ended = yield self._forget, parameters
        return {UUID(row[0]) for row in ended}

    def complete(self, worker: UUID, row: Ended) -> Steps[bool]:
        """Do what :meth:`end` does for one task in a transaction of the caller."""
        if not (yield self._may_complete, _held(worker, [row])):
            return False
        return bool((yield from self.end(worker, [row])))

    def put_back(self, worker: UUID, rows: Sequence[PutBack]) -> Steps[set[UUID]]:
        """Make tasks that ``worker`` holds claimable again, but for canceled ones; return which."""
        applied = yield self._put_back, _held(worker, rows)
        return {UUID(row[0]) for row in applied}

    def canceled(self, worker: UUID, held: Iterable[UUID]) -> Steps[set[UUID]]:
        """Return which of the tasks that ``worker`` holds are marked as canceled."""
        ids = json.dumps([task_id.hex for task_id in held])
        found = yield self._canceled, {"worker": worker.hex, "ids": ids}
        return {UUID(row[0]) for row in found}

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> Steps[None]:
        """Keep the progress of tasks that ``worker`` holds."""
        batch = [
            {"id": task_id.hex, "percent": said.percent, "message": encode(said.message)}
            for task_id, said in progress.items()
        ]
        yield self._report, {"worker": worker.hex, "rows": json.dumps(batch)}

    def key(self, value: UUID) -> str:
        """Return ``value`` as the driver takes it."""
        return value.hex


def insert_one(tasks: str, options: tuple[str, ...]) -> str:
    """Return the statement that stores a task with ``options`` in ``tasks``, but its payload."""
    values = {
        "id": ":id",
        "queue": ":queue",
        "priority": ":priority",
        "run_at": NOW,
        "created_at": NOW,
        "status": str(single.status_with(options)),
        "func": ":func",
        **dict(_OPTIONS[option] for option in options),
    }
    return f"insert into {tasks} ({', '.join(values)}) values ({', '.join(values.values())})"


def _row(message: Message) -> Parameters:
    """Return what is stored of ``message``, whatever it has, to travel as JSON."""
    return {
        "id": message.id.hex,
        "queue": message.queue,
        "priority": message.priority,
        "delay": relative(message.due),
        "run_at": absolute(message.due),
        "expires_in": relative(message.expires),
        "expires_at": absolute(message.expires),
        "status": first_status(message),
        "func": message.func,
        "unique_key": message.unique_key,
        "tags": tags_text(message),
        "payload": pack(message.payload, message.id, message.func),
    }


def _held(worker: UUID, rows: Sequence[Ended | PutBack]) -> dict[str, str]:
    """Return the parameters for rows that ``worker`` holds."""
    batch = [row._asdict() | {"id": row.id.hex} for row in rows]
    return {"worker": worker.hex, "rows": json.dumps(batch)}


def _field(row: str, name: str) -> str:
    """The SQL for one field of a row that travels as JSON."""
    return f"json_extract({row}.value, '$.{name}')"
