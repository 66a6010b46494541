"""The statements that both databases share, built once for each installation.

Whatever compares with the present asks the database for it.
"""

from typing import Any

from sqlalchemy import (
    Delete,
    Insert,
    Select,
    Text,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from ...constants import CLAIMABLE, RETRYABLE, RUNNING, SUCCESS, WAITING
from ...exceptions import LONGEST_DELAY
from .dialects import Dialect
from .tables import Tables, Timestamp

CARRIED = ("id", "created_at", "priority", "queue", "func", "unique_key", "tags")
"""What a task keeps when it waits again after its end."""
UNKNOWN_LEASE = 1_000_000_000
"""Above every number of claims: where a lease goes on whose last number nobody kept."""


class Statements:
    """SQLAlchemy Core statements over ``tables``, for ``dialect``."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        tasks, payloads, finished = tables.tasks, tables.payloads, tables.finished
        errors, results, workers = tables.errors, tables.results, tables.workers
        queues = tables.queues
        now = literal_column(dialect.now, Timestamp())
        waits = tasks.c.status.in_(CLAIMABLE)
        # What settles must never fail on a row that is there already: the outcome would be
        # tried again for ever.
        insert_new = postgresql.insert if dialect.name == "postgresql" else sqlite.insert

        self.join_worker: Insert = insert(workers).values(
            id=bindparam("worker"),
            expires_at=text(dialect.later("ttl")),
            started_at=now,
            pid=bindparam("pid"),
            host=bindparam("host"),
            queues=bindparam("queues"),
        )
        # A lease that has ended is not renewed: others may already have taken its tasks.
        self.heartbeat: Update = (
            update(workers)
            .where(workers.c.id == bindparam("worker"), workers.c.expires_at > now)
            .values(expires_at=text(dialect.later("ttl")))
        )
        # The row stays until the tasks were taken back, but no longer counts as alive.
        self.expire_worker: Update = (
            update(workers).where(workers.c.id == bindparam("worker")).values(expires_at=now)
        )
        self.remove_worker: Delete = delete(workers).where(workers.c.id == bindparam("worker"))

        self.length: Select[Any] = (
            select(func.count())
            .select_from(tasks)
            .where(tasks.c.queue == bindparam("queue"), waits)
        )
        self.waiting_ids: Select[Any] = (
            select(tasks.c.id)
            .where(tasks.c.queue == bindparam("queue"), waits)
            .order_by(tasks.c.id)
            .with_for_update()
        )
        self.delete_tasks: Delete = delete(tasks).where(
            tasks.c.id.in_(bindparam("ids", expanding=True))
        )
        self.delete_payloads: Delete = delete(payloads).where(
            payloads.c.id.in_(bindparam("ids", expanding=True))
        )
        self.delete_errors: Delete = delete(errors).where(
            errors.c.task_id.in_(bindparam("ids", expanding=True))
        )

        self.next_due = _next_due(tables, dialect)
        self.is_paused: Select[Any] = select(
            exists().where(queues.c.name == bindparam("queue"), queues.c.paused_at.is_not(None))
        )
        # The row of a queue stays at the end of a pause: it may tell more than that.
        pausing = insert_new(queues).values(name=bindparam("queue"), paused_at=now)
        self.pause: Insert = pausing.on_conflict_do_update(
            index_elements=[queues.c.name],
            set_={"paused_at": func.coalesce(queues.c.paused_at, pausing.excluded.paused_at)},
        )
        self.resume: Update = (
            update(queues)
            .where(queues.c.name == bindparam("queue"), queues.c.paused_at.is_not(None))
            .values(paused_at=null())
        )

        # Waits for whoever is about to settle the task, and sees what became of it then.
        self.cancelable_task: Select[Any] = (
            select(tasks, payloads.c.payload)
            .join(payloads, payloads.c.id == tasks.c.id)
            .where(tasks.c.id == bindparam("id"), tasks.c.status.in_((*CLAIMABLE, RUNNING)))
            .with_for_update(of=tasks)
        )
        self.mark_canceled: Update = (
            update(tasks)
            .where(tasks.c.id == bindparam("task_id"))
            .values(canceled_at=func.coalesce(tasks.c.canceled_at, now))
        )
        self.add_finished: Insert = (
            insert_new(finished).values(finished_at=now).on_conflict_do_nothing()
        )
        # The lock comes first: of two who do this at once, the second finds no row any more,
        # even if the task has run and ended again meanwhile. A unique key that is taken, by a
        # row that nobody can see yet too, is a conflict and leaves everything as it is.
        ended = (
            select(
                *(finished.c[name] for name in CARRIED),
                func.coalesce(finished.c.lease, UNKNOWN_LEASE),
                now,
                literal_column(str(WAITING)),
            )
            .where(finished.c.id == bindparam("id"), finished.c.status.in_(RETRYABLE))
            .with_for_update()
        )
        self.revive: ReturningInsert[Any] = (
            insert_new(tasks)
            .from_select([*CARRIED, "lease", "run_at", "status"], ended, include_defaults=False)
            .on_conflict_do_nothing()
            .returning(tasks.c.queue)
        )
        self.delete_finished: Delete = delete(finished).where(finished.c.id == bindparam("id"))
        self.live_task: Select[Any] = select(tasks).where(tasks.c.id == bindparam("id"))
        self.ended_task: Select[Any] = select(finished).where(finished.c.id == bindparam("id"))
        self.last_error: Select[Any] = (
            select(errors)
            .where(errors.c.task_id == bindparam("id"))
            .order_by(errors.c.lease.desc())
            .limit(1)
        )
        self.result: Select[Any] = select(results).where(results.c.id == bindparam("id"))

        self.add_error: Insert = insert_new(errors).values(at=now).on_conflict_do_nothing()
        # Text, for it runs on connections of the caller too.
        self.add_result: str = (
            f"insert into {tables.names.table('results')} (id, result, problem) "
            "values (:id, :result, :problem) on conflict do nothing"
        )
        self.rewrite_payload: Update = (
            update(payloads)
            .where(payloads.c.id == bindparam("task_id"))
            .values(payload=bindparam("new_payload"))
        )

        self.dead_workers: Select[Any] = (
            select(workers.c.id, workers.c.host, workers.c.pid)
            .where(workers.c.expires_at <= now)
            .order_by(workers.c.id)
            .with_for_update(skip_locked=True)
        )
        orphan = select(
            tasks.c.id,
            tasks.c.lease,
            tasks.c.attempts,
            tasks.c.crashes,
            tasks.c.worker_id,
            tasks.c.started_at,
            tasks.c.canceled_at,
        ).where(tasks.c.status == RUNNING)
        self.orphans: Select[Any] = (
            orphan.where(tasks.c.worker_id.in_(bindparam("workers", expanding=True)))
            .order_by(tasks.c.id)
            .with_for_update(skip_locked=True)
        )
        self.strays: Select[Any] = (
            orphan.where(
                ~select(workers.c.id).where(workers.c.id == tasks.c.worker_id).exists(),
            )
            .order_by(tasks.c.id)
            .with_for_update(skip_locked=True, of=tasks)
        )
        self.count_crash: Update = (
            update(tasks)
            .where(tasks.c.id.in_(bindparam("ids", expanding=True)))
            .values(crashes=tasks.c.crashes + 1)
        )
        # Tasks that somebody had locked were skipped: the row stays until they are taken back.
        self.remove_workers: Delete = delete(workers).where(
            workers.c.id.in_(bindparam("ids", expanding=True)),
            ~select(tasks.c.id)
            .where(tasks.c.worker_id == workers.c.id, tasks.c.status == RUNNING)
            .exists(),
        )

        def prunable(condition: Any, keep: str) -> Select[Any]:
            age = text(f"{tables.names.table('finished')}.finished_at < {dialect.later(keep)}")
            return (
                select(finished.c.id)
                .where(condition, age)
                .order_by(finished.c.finished_at)
                .limit(bindparam("batch"))
                .with_for_update(skip_locked=True)
            )

        self.old_successes = prunable(finished.c.status == SUCCESS, "minus_keep")
        self.old_failures = prunable(finished.c.status != SUCCESS, "minus_keep")
        self.forget: tuple[Delete, ...] = tuple(
            delete(table).where(column.in_(bindparam("ids", expanding=True)))
            for table, column in (
                (results, results.c.id),
                (errors, errors.c.task_id),
                (payloads, payloads.c.id),
                (finished, finished.c.id),
            )
        )


def _next_due(tables: Tables, dialect: Dialect) -> Select[Any, Any]:
    """Return when the next task of some queues is due, and what time it is.

    It asks each priority for its own, so that future tasks are not counted through.
    """
    tasks, queues = tables.tasks, tables.queues
    now = literal_column(dialect.now, Timestamp())
    queue = literal_column("q.value", Text())
    found = (
        select(
            queue.label("queue"),
            select(func.max(tasks.c.priority))
            .where(tasks.c.queue == queue)
            .scalar_subquery()
            .label("priority"),
        )
        .select_from(text(dialect.each("queues")))
        .cte("found", recursive=True)
    )
    below = (
        select(func.max(tasks.c.priority))
        .where(tasks.c.queue == found.c.queue, tasks.c.priority < found.c.priority)
        .scalar_subquery()
    )
    found = found.union_all(select(found.c.queue, below).where(found.c.priority.is_not(None)))
    # Who has a SQL prompt can write 'infinity', which no datetime holds: that is never.
    never = text(dialect.later("horizon")).bindparams(horizon=LONGEST_DELAY)
    next_due = (
        select(func.min(tasks.c.run_at))
        .where(
            tasks.c.queue == found.c.queue,
            tasks.c.priority == found.c.priority,
            tasks.c.run_at > now,
            tasks.c.run_at <= never,
            tasks.c.status.in_(CLAIMABLE),
        )
        .scalar_subquery()
    )
    # A scalar, which the planner cannot turn into a join.
    paused_at = select(queues.c.paused_at).where(queues.c.name == found.c.queue).scalar_subquery()
    return select(func.min(next_due), now).select_from(found).where(paused_at.is_(None))
