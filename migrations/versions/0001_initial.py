"""The tables and views of the first release.

Revision: 0001, the first
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("tasks", "payloads", "finished", "errors", "results", "workers")
VIEWS = ("all_tasks", "queue_depth")

HOT = {
    "fillfactor": 45,
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
    "autovacuum_vacuum_insert_scale_factor": 0,
    "autovacuum_vacuum_insert_threshold": 10000,
    "autovacuum_analyze_scale_factor": 0.05,
    "autovacuum_analyze_threshold": 5000,
    "vacuum_truncate": "off",
}

STATUS = (
    "case status when 0 then 'waiting' when 1 then 'success' when 2 then 'failed' "
    "when 3 then 'delayed' when 4 then 'retrying' when 5 then 'canceled' "
    "when 6 then 'running' when 7 then 'blocked' end"
)


def upgrade() -> None:
    """Create everything."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    is_sqlite = op.get_context().dialect.name == "sqlite"
    moment: sa.types.TypeEngine[Any] = sa.Float() if is_sqlite else sa.DateTime(timezone=True)
    create_live_tables(prefix, schema, moment)
    create_history_tables(prefix, schema, moment)
    full = f"{schema}.{prefix}" if schema else prefix
    if is_sqlite:
        create_sqlite_views(full)
    else:
        create_postgresql_views(full)


def downgrade() -> None:
    """Drop everything, the tasks included."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    full = f"{schema}.{prefix}" if schema else prefix
    for view in reversed(VIEWS):
        op.execute(f"drop view {full}{view}")
    for table in reversed(TABLES):
        op.drop_table(f"{prefix}{table}", schema=schema)


def create_live_tables(prefix: str, schema: str | None, moment: sa.types.TypeEngine[Any]) -> None:
    """Create what changes while tasks wait and run."""
    op.create_table(
        f"{prefix}tasks",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("run_at", moment, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        # What a claim changes stands together: of the row only that goes into the log.
        sa.Column("started_at", moment),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("status", sa.SmallInteger(), nullable=False, server_default="0"),
        sa.Column("crashes", sa.SmallInteger(), nullable=False, server_default="0"),
        sa.Column("lease", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("priority", sa.SmallInteger(), nullable=False, server_default="0"),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("func", sa.Text(), nullable=False),
        sa.Column("unique_key", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.CheckConstraint("status in (0, 3, 4, 6, 7)", name=f"{prefix}tasks_status"),
        sa.CheckConstraint("length(queue) between 1 and 128", name=f"{prefix}tasks_queue"),
        sa.CheckConstraint("attempts >= 0 and crashes >= 0", name=f"{prefix}tasks_counts"),
        sa.CheckConstraint("status <> 6 or worker_id is not null", name=f"{prefix}tasks_running"),
        schema=schema,
        postgresql_with=HOT,
    )
    op.create_index(
        f"{prefix}tasks_claim",
        f"{prefix}tasks",
        ["queue", sa.text("priority DESC"), "run_at", "id"],
        schema=schema,
    )
    has_key = sa.text("unique_key IS NOT NULL")
    op.create_index(
        f"{prefix}tasks_unique_key",
        f"{prefix}tasks",
        ["queue", "unique_key"],
        unique=True,
        schema=schema,
        postgresql_where=has_key,
        sqlite_where=has_key,
    )
    op.create_table(
        f"{prefix}payloads",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("payload", sa.Text(), nullable=False),
        schema=schema,
    )
    op.create_table(
        f"{prefix}workers",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        schema=schema,
        postgresql_with={"fillfactor": 50},
    )


def create_history_tables(
    prefix: str, schema: str | None, moment: sa.types.TypeEngine[Any]
) -> None:
    """Create what is only inserted into, and pruned."""
    op.create_table(
        f"{prefix}finished",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("run_at", moment, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("finished_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("func", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("unique_key", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint("status in (1, 2, 5)", name=f"{prefix}finished_status"),
        schema=schema,
    )
    op.create_index(f"{prefix}finished_at", f"{prefix}finished", ["finished_at"], schema=schema)
    op.create_table(
        f"{prefix}errors",
        sa.Column("task_id", sa.Uuid(), primary_key=True),
        sa.Column("lease", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        schema=schema,
    )
    op.create_table(
        f"{prefix}results",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("result", sa.Text()),
        sa.Column("problem", sa.Text()),
        schema=schema,
    )


def create_postgresql_views(full: str) -> None:
    """Create the views for reports; ``full`` is what their names start with."""
    op.execute(f"""
        create view {full}all_tasks as
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               created_at as created_at, run_at as run_at, started_at as started_at,
               null::timestamptz as finished_at,
               extract(epoch from started_at - run_at)::float8 as wait_seconds,
               null as run_seconds,
               worker_id, unique_key, tags, null as reason
          from {full}tasks
        union all
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               created_at as created_at, run_at as run_at, started_at as started_at,
               finished_at as finished_at,
               extract(epoch from started_at - run_at)::float8 as wait_seconds,
               extract(epoch from finished_at - started_at)::float8 as run_seconds,
               worker_id, unique_key, tags, reason as reason
          from {full}finished
    """)
    op.execute(f"""
        create view {full}queue_depth as
        select queue,
               sum(case when status <> 6 and run_at <= now() then 1 else 0 end) as due,
               sum(case when status <> 6 and run_at > now() then 1 else 0 end) as later,
               sum(case when status <> 6 then 0 else 1 end) as running,
               max(case when status <> 6 and run_at <= now()
                        then extract(epoch from now() - run_at)::float8 end)
                   as oldest_due_seconds
          from {full}tasks
         group by queue
    """)


def create_sqlite_views(full: str) -> None:
    """Create the same views on SQLite, where moments are Unix seconds."""
    shown = "strftime('%Y-%m-%d %H:%M:%f', {0}, 'unixepoch') as {0}".format
    moments = f"{shown('created_at')}, {shown('run_at')}, {shown('started_at')}"
    op.execute(f"""
        create view {full}all_tasks as
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               {moments}, null as finished_at,
               (started_at - run_at) as wait_seconds, null as run_seconds,
               worker_id, unique_key, tags, null as reason
          from {full}tasks
        union all
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               {moments}, {shown("finished_at")},
               (started_at - run_at) as wait_seconds, (finished_at - started_at) as run_seconds,
               worker_id, unique_key, tags, reason as reason
          from {full}finished
    """)
    now = "((julianday('now') - 2440587.5) * 86400.0)"
    op.execute(f"""
        create view {full}queue_depth as
        select queue,
               sum(case when status <> 6 and run_at <= {now} then 1 else 0 end) as due,
               sum(case when status <> 6 and run_at > {now} then 1 else 0 end) as later,
               sum(case when status <> 6 then 0 else 1 end) as running,
               max(case when status <> 6 and run_at <= {now} then ({now} - run_at) end)
                   as oldest_due_seconds
          from {full}tasks
         group by queue
    """)
