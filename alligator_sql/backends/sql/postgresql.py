"""The statements for PostgreSQL.

Their rules, each measured (``docs/decisions/``):

* The locking SELECT stands in a MATERIALIZED CTE: as a subquery it may run several times
  and lock more rows than its LIMIT.
* Rows are reached by ``id = any(array)``, never by a join that the planner could turn into
  a hash or sequential scan when its statistics are wrong, which in a queue they always are.
* Only the claim keeps its plan, see :data:`.driver.PLAN_ONCE`.
* ``status + 0`` keeps the predicate out of index selection when the primary key is the way.
* ``FOR NO KEY UPDATE`` is not held up by the foreign-key checks of others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

from ...clock import SYSTEM_CLOCK
from ...constants import RUNNING, SUCCESS
from ...messages import Claim, Message, Progress
from . import single
from .dialects import (
    CLAIMABLE_SQL,
    Ended,
    Parameters,
    Place,
    PutBack,
    Steps,
    absolute,
    claim_of,
    first_status,
    in_order,
    priorities_sql,
    ranks,
    relative,
    tags_text,
)
from .marks import FRONT, MOST_PLACES, Mark, Marks
from .payloads import encode, pack
from .tables import Names

CLOCK = "clock_timestamp()"
"""The time of this moment; now() is that of the beginning of the transaction."""


class PostgreSQL:
    """Statements for PostgreSQL 14 and later: one round trip for each batch."""

    name: ClassVar[str] = "postgresql"
    now: ClassVar[str] = "now()"
    planned_once: frozenset[str]

    def __init__(self, names: Names) -> None:
        self._names = names
        self._marks: dict[tuple[str, ...], Marks] = {}
        tasks, payloads, finished, workers, queues = (
            names.table(table) for table in ("tasks", "payloads", "finished", "workers", "queues")
        )
        held = f"""id, queue, func, lease, attempts, crashes,
                   (select p.payload from {payloads} p where p.id = held.id),
                   cast(extract(epoch from now()) - extract(epoch from created_at) as float8),
                   cast(extract(epoch from expires_at) - extract(epoch from now()) as float8),
                   suspect"""
        # The task goes first: the unique index on it decides about duplicates, and a
        # payload is written only for a task that is there. A known id, live or ended, has
        # a payload, so a repeated enqueue stores nothing. Of a batch with one unique key the
        # first is stored, in whatever order the join would come.
        self._enqueue = f"""
            with new as (
                insert into {tasks} (id, queue, priority, run_at, created_at, expires_at, status,
                                     func, unique_key, tags)
                select m.id, m.queue, m.priority,
                       greatest(now(), coalesce(to_timestamp(m.run_at), now()
                                                + make_interval(secs => m.delay))),
                       now(),
                       coalesce(to_timestamp(m.expires_at), now()
                                + make_interval(secs => m.expires_in)),
                       m.status, m.func, m.unique_key, m.tags
                  from unnest(cast(:ids as uuid[]), cast(:queues as text[]),
                              cast(:priorities as smallint[]), cast(:delays as float8[]),
                              cast(:run_ats as float8[]), cast(:expires_ins as float8[]),
                              cast(:expires_ats as float8[]), cast(:statuses as smallint[]),
                              cast(:funcs as text[]), cast(:unique_keys as text[]),
                              cast(:tags as text[]))
                       with ordinality
                       as m(id, queue, priority, delay, run_at, expires_in, expires_at, status,
                            func, unique_key, tags, place)
                 where not exists (select 1 from {payloads} p where p.id = m.id)
                 order by m.place
                on conflict do nothing
                returning id
            ),
            kept as (
                insert into {payloads} (id, payload)
                select m.id, m.payload
                  from unnest(cast(:ids as uuid[]), cast(:payloads as text[])) as m(id, payload)
                 where m.id = any(array(select id from new))
                on conflict do nothing
                returning id
            )
            select id, id in (select id from kept),
                   case when cast(:channel as text) is not null
                        then cast(pg_notify(:channel, '') as text) end
              from new
        """
        # While an insert waits for the holder of its unique key, a task with its id may come,
        # run and end, unseen by the older snapshot. Its payload tells.
        self._forget_again = f"""
            delete from {tasks}
             where id = any(cast(:ids as uuid[])) and status + 0 in ({CLAIMABLE_SQL})
        """
        self._priorities = priorities_sql(tasks, self.each("queues"))
        # Visits the queues in their order, their priorities from the most urgent on, and in
        # each only what is due, from its mark on, until there is enough: neither future tasks
        # nor the dead entries of the past are read. The row of the worker must be alive:
        # whoever lost the lease claims nothing. That is looked up once for the whole claim,
        # and a pause once for each mark, as a scalar: an EXISTS would be turned into a join,
        # which may visit the marks in another order. The planner must not know the inner limit:
        # where it expects fewer tasks than that it would read and sort all that are due.
        # A locked row stays at its spot, so no index is needed to find it again: there is one
        # way only to each row, and the plan may be kept for ever.
        self._claim = f"""
            with pick as materialized (
                select x.spot
                  from unnest(cast(:queues as text[]), cast(:priorities as smallint[]),
                              cast(:mark_run_ats as float8[]), cast(:mark_ids as uuid[]))
                       as m(queue, priority, run_at, id)
                 cross join lateral (
                       select ctid as spot from {tasks}
                        where queue = m.queue and priority = m.priority and run_at <= now()
                          and (run_at, id) >= (to_timestamp(m.run_at), m.id)
                          and status in ({CLAIMABLE_SQL})
                          and exists (select 1 from {workers}
                                       where id = :worker and expires_at > now())
                        order by run_at, id
                        limit (select cast(:limit as bigint))
                          for no key update skip locked) x
                 where (select paused_at from {queues} where name = m.queue) is null
                 limit :limit
            ),
            held as (
                update {tasks}
                   set status = {RUNNING}, attempts = attempts + 1, lease = lease + 1,
                       worker_id = :worker,
                       started_at = case when cast(:begins as boolean) and not suspect
                                         then now() end
                 where ctid = any(array(select spot from pick))
                returning *
            )
            select {held}, priority, cast(extract(epoch from run_at) as float8)
              from held
             order by priority desc, run_at, id
        """
        self.planned_once = frozenset([self._claim])
        self._claim_one = f"""
            with held as (
                update {tasks}
                   set status = {RUNNING}, attempts = attempts + 1, lease = lease + 1,
                       worker_id = :worker, started_at = now(), suspect = false
                 where id = any(array(select id from {tasks}
                                       where id = :id and status + 0 in ({CLAIMABLE_SQL})
                                         for no key update skip locked))
                returning *
            )
            select {held}
              from held
        """
        # Where a row stands in the arrays, whose ids are sorted: found in log n steps.
        place = "width_bucket(id, cast(:ids as uuid[]))"
        runs = f"id = any(cast(:ids as uuid[])) and status + 0 = {RUNNING} and worker_id = :worker"
        same = f"lease = (cast(:leases as bigint[]))[{place}]"
        self._begin = f"""
            update {tasks}
               set started_at = now(), suspect = false
             where {runs}
               and {same}
            returning id
        """
        # The fence is part of the DELETE itself, so that it is checked again on the newest
        # version of a row that somebody else has just changed. Whatever is gone counts as
        # ended, even if the history knew the id already.
        end = f"""
            with gone as (
                delete from {tasks}
                 where {runs}
                   and {same}{{lives}}
                returning id, queue, func, priority, attempts, crashes, created_at, run_at,
                          started_at, worker_id, unique_key, tags, lease,
                          {place} as place
            ),
            kept as (
                insert into {finished} (id, queue, func, priority, attempts, crashes, created_at,
                                        run_at, started_at, worker_id, unique_key, tags, lease,
                                        status, reason, finished_at)
                select id, queue, func, priority,
                       attempts - (cast(:refunds as smallint[]))[place], crashes, created_at,
                       run_at,
                       coalesce({{now}} - make_interval(secs => (cast(:ages as float8[]))[place]
                                                      + (cast(:seconds as float8[]))[place]),
                                started_at),
                       worker_id, unique_key, tags,
                       case when (cast(:statuses as smallint[]))[place] <> {SUCCESS} then lease end,
                       (cast(:statuses as smallint[]))[place], (cast(:reasons as text[]))[place],
                       {{now}} - make_interval(secs => (cast(:ages as float8[]))[place])
                  from gone
                 where (select f.id from {finished} f where f.id = gone.id) is null
            )
            select id from gone
        """
        self._end = end.format(now=self.now, lives="")
        # now() is when the caller's transaction began, which may be long ago.
        lives = f"""
                   and exists (select 1 from {workers}
                                where id = :worker and expires_at > {CLOCK})"""
        self._complete = end.format(now=CLOCK, lives=lives)
        self._put_back = f"""
            update {tasks}
               set status = (cast(:statuses as smallint[]))[{place}],
                   attempts = attempts
                       - (cast(:refunds as smallint[]))[{place}],
                   run_at = coalesce(now() + make_interval(secs =>
                       (cast(:delays as float8[]))[{place}]), run_at),
                   suspect = coalesce((cast(:suspects as boolean[]))[{place}], suspect),
                   worker_id = null, started_at = null, progress = null, progress_message = null
             where {runs}
               and {same}
               and canceled_at is null
            returning id
        """
        self._canceled = f"""
            select id from {tasks}
             where {runs}
               and canceled_at is not null
        """
        # Whoever holds a row settles the task. To wait for several of them could deadlock.
        self._report = f"""
            update {tasks}
               set progress = (cast(:percents as float8[]))[{place}],
                   progress_message = (cast(:messages as text[]))[{place}]
             where id = any(array(select id from {tasks}
                                   where {runs}
                                     for no key update skip locked))
        """

    def later(self, parameter: str) -> str:
        """Return the SQL for now plus the seconds in ``parameter``."""
        return f"now() + make_interval(secs => :{parameter})"

    def each(self, parameter: str) -> str:
        """Return the SQL for a table ``q`` with a ``value`` for each of some :meth:`names`."""
        return f"unnest(cast(:{parameter} as text[])) as q(value)"

    def names(self, names: Sequence[str]) -> str:
        """Return ``names`` as one parameter."""
        return texts(names)

    def enqueue(self, messages: Sequence[Message], channel: str | None) -> Steps[set[UUID]]:
        """Store messages and return the ids that are new."""
        if single.suits(messages):
            rows = yield single.statement(self._names, messages[0], channel)
            return {row[0] for row in rows}
        rows = yield (
            self._enqueue,
            {
                "ids": array(message.id for message in messages),
                "queues": texts(message.queue for message in messages),
                "priorities": array(message.priority for message in messages),
                "delays": array(relative(message.due) for message in messages),
                "run_ats": array(absolute(message.due) for message in messages),
                "expires_ins": array(relative(message.expires) for message in messages),
                "expires_ats": array(absolute(message.expires) for message in messages),
                "statuses": array(first_status(message) for message in messages),
                "funcs": texts(message.func for message in messages),
                "unique_keys": texts(message.unique_key for message in messages),
                "tags": texts(tags_text(message) for message in messages),
                "payloads": texts(
                    pack(message.payload, message.id, message.func) for message in messages
                ),
                "channel": channel,
            },
        )
        again = [task_id for task_id, kept, _ in rows if not kept]
        if again:
            yield self._forget_again, {"ids": array(again)}
        return {task_id for task_id, kept, _ in rows if kept}

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        *,
        thorough: bool = False,
        begins: bool = False,
    ) -> Steps[list[Claim]]:
        """Hold up to ``limit`` due tasks: from the marks on, and from the front when due.

        With ``thorough`` a look from the front is always due when there is nothing else.
        """
        marks = self._marks_of(queues)
        claims: list[Claim] = []
        bounded = marks.bounded()
        if bounded and not marks.full_is_due(SYSTEM_CLOCK.monotonic(), empty=False):
            claims = yield from self._claim_from(bounded, queues, limit, worker, begins)
        # What was found can start meanwhile: the look from the front is for the next claim.
        if not claims and (thorough or marks.full_is_due(SYSTEM_CLOCK.monotonic(), empty=True)):
            started = SYSTEM_CLOCK.monotonic()
            rows = yield self._priorities, {"queues": self.names(queues)}
            found = in_order(queues, rows)
            front = [(place, FRONT) for place in found]
            claims = yield from self._claim_from(front, queues, limit, worker, begins)
            now = SYSTEM_CLOCK.monotonic()
            marks.full_done(found, now, now - started)
        return claims

    def _marks_of(self, queues: Sequence[str]) -> Marks:
        key = tuple(queues)
        if key not in self._marks:
            self._marks.setdefault(key, Marks(key))
        return self._marks[key]

    def _claim_from(
        self,
        bounds: Sequence[tuple[Place, Mark]],
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        begins: bool,
    ) -> Steps[list[Claim]]:
        """Claim from ``bounds`` on, in one statement unless there are very many of them."""
        marks, rank = self._marks_of(queues), ranks(queues)
        claims: list[Claim] = []
        for start in range(0, len(bounds), MOST_PLACES):
            some = bounds[start : start + MOST_PLACES]
            rows = yield (
                self._claim,
                {
                    "queues": texts(queue for (queue, _), _ in some),
                    "priorities": array(priority for (_, priority), _ in some),
                    "mark_run_ats": array(mark.run_at for _, mark in some),
                    "mark_ids": array(mark.id for _, mark in some),
                    "limit": limit - len(claims),
                    "worker": worker,
                    "begins": begins,
                },
            )
            marks.advance(((row[1], row[10]), Mark(row[11], row[0])) for row in rows)
            ordered = sorted(rows, key=lambda row: rank[row[1]])
            claims += [claim_of(row, row[0], worker) for row in ordered]
            if len(claims) >= limit:
                break
        return claims

    def claim_one(self, task_id: UUID, worker: UUID) -> Steps[list[Claim]]:
        """Hold one waiting task, due or not; it starts now."""
        rows = yield self._claim_one, {"id": task_id, "worker": worker}
        return [claim_of(row, row[0], worker) for row in rows]

    def begin(self, worker: UUID, claims: Sequence[Claim]) -> Steps[set[UUID]]:
        """Note that claims of ``worker`` start now; return which are still held."""
        claims = sorted(claims, key=_id)
        begun = yield (
            self._begin,
            {
                "worker": worker,
                "ids": array(claim.id for claim in claims),
                "leases": array(claim.lease for claim in claims),
            },
        )
        return {row[0] for row in begun}

    def end(self, worker: UUID, rows: Sequence[Ended]) -> Steps[set[UUID]]:
        """Move tasks that ``worker`` holds to the finished table; return which."""
        applied = yield self._end, _ending(worker, rows)
        return {row[0] for row in applied}

    def complete(self, worker: UUID, row: Ended) -> Steps[bool]:
        """Do what :meth:`end` does for one task in a transaction of the caller."""
        return bool((yield self._complete, _ending(worker, [row])))

    def put_back(self, worker: UUID, rows: Sequence[PutBack]) -> Steps[set[UUID]]:
        """Make tasks that ``worker`` holds claimable again, but for canceled ones; return which."""
        rows = sorted(rows, key=_id)
        applied = yield (
            self._put_back,
            {
                "worker": worker,
                "ids": array(row.id for row in rows),
                "leases": array(row.lease for row in rows),
                "statuses": array(row.status for row in rows),
                "delays": array(row.delay for row in rows),
                "refunds": array(row.refund for row in rows),
                "suspects": array(row.suspect for row in rows),
            },
        )
        return {row[0] for row in applied}

    def canceled(self, worker: UUID, held: Iterable[UUID]) -> Steps[set[UUID]]:
        """Return which of the tasks that ``worker`` holds are marked as canceled."""
        found = yield self._canceled, {"worker": worker, "ids": array(held)}
        return {row[0] for row in found}

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> Steps[None]:
        """Keep the progress of tasks that ``worker`` holds."""
        ids = sorted(progress)
        yield (
            self._report,
            {
                "worker": worker,
                "ids": array(ids),
                "percents": array(progress[task_id].percent for task_id in ids),
                "messages": texts(encode(progress[task_id].message) for task_id in ids),
            },
        )

    def key(self, value: UUID) -> UUID:
        """Return ``value`` as the driver takes it."""
        return value


def _ending(worker: UUID, rows: Sequence[Ended]) -> Parameters:
    rows = sorted(rows, key=_id)
    return {
        "worker": worker,
        "ids": array(row.id for row in rows),
        "leases": array(row.lease for row in rows),
        "statuses": array(row.status for row in rows),
        "reasons": texts(row.reason for row in rows),
        "refunds": array(row.refund for row in rows),
        "ages": array(row.age for row in rows),
        "seconds": array(row.seconds for row in rows),
    }


_id: Callable[[Any], int] = attrgetter("id.int")
"""By what rows are sorted: UUIDs themselves take four times as long to compare."""


def array(values: Iterable[float | UUID | None]) -> str:
    """Return numbers or UUIDs as PostgreSQL writes an array.

    The driver would choose an array type by the values, and the cast in the statement would
    convert that array again for every row that looks into it.
    """
    return f"{{{','.join('null' if value is None else str(value) for value in values)}}}"


def texts(values: Iterable[str | None]) -> str:
    """Return texts as PostgreSQL writes an array; the driver needs ten times as long for it."""
    return f"{{{','.join('null' if value is None else _quoted(value) for value in values)}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
