"""What is known of running tasks: suspects, cancellations, progress.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATUS = (
    "case status when 0 then 'waiting' when 1 then 'success' when 2 then 'failed' "
    "when 3 then 'delayed' when 4 then 'retrying' when 5 then 'canceled' "
    "when 6 then 'running' when 7 then 'blocked' end"
)
LIVE = ", canceled_at as canceled_at, progress, progress_message"
SQLITE_LIVE = (
    ", strftime('%Y-%m-%d %H:%M:%f', canceled_at, 'unixepoch') as canceled_at, "
    "progress, progress_message"
)
ENDED = ", null as canceled_at, null as progress, null as progress_message"


def upgrade() -> None:
    """Add the columns, and show them."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    is_sqlite = op.get_context().dialect.name == "sqlite"
    # Nullable, or with a constant: no row is rewritten, and the table is locked for a moment only.
    for column in (
        sa.Column("suspect", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("canceled_at", sa.Float() if is_sqlite else sa.DateTime(timezone=True)),
        sa.Column("progress", sa.Float()),
        sa.Column("progress_message", sa.Text()),
    ):
        op.add_column(f"{prefix}tasks", column, schema=schema)
    full = f"{schema}.{prefix}" if schema else prefix
    if is_sqlite:
        op.execute(f"drop view {full}all_tasks")
        create_sqlite_view(full, SQLITE_LIVE, ENDED)
    else:
        # Replaced and not dropped: the rights of reporting roles stay.
        create_postgresql_view(full, LIVE, ENDED)


def downgrade() -> None:
    """Forget all of it. A role that may read the view needs that right again."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    full = f"{schema}.{prefix}" if schema else prefix
    op.execute(f"drop view {full}all_tasks")
    if op.get_context().dialect.name == "sqlite":
        create_sqlite_view(full)
    else:
        create_postgresql_view(full)
    for column in ("progress_message", "progress", "canceled_at", "suspect"):
        op.drop_column(f"{prefix}tasks", column, schema=schema)


def create_postgresql_view(full: str, live: str = "", ended: str = "") -> None:
    """Create the view of tasks, or add columns; ``full`` is what its name starts with."""
    op.execute(f"""
        create or replace view {full}all_tasks as
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               created_at as created_at, run_at as run_at, started_at as started_at,
               null::timestamptz as finished_at,
               extract(epoch from started_at - run_at)::float8 as wait_seconds,
               null as run_seconds,
               worker_id, unique_key, tags, null as reason{live}
          from {full}tasks
        union all
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               created_at as created_at, run_at as run_at, started_at as started_at,
               finished_at as finished_at,
               extract(epoch from started_at - run_at)::float8 as wait_seconds,
               extract(epoch from finished_at - started_at)::float8 as run_seconds,
               worker_id, unique_key, tags, reason as reason{ended}
          from {full}finished
    """)


def create_sqlite_view(full: str, live: str = "", ended: str = "") -> None:
    """Create the same view on SQLite, where moments are Unix seconds."""
    shown = "strftime('%Y-%m-%d %H:%M:%f', {0}, 'unixepoch') as {0}".format
    moments = f"{shown('created_at')}, {shown('run_at')}, {shown('started_at')}"
    op.execute(f"""
        create view {full}all_tasks as
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               {moments}, null as finished_at,
               (started_at - run_at) as wait_seconds, null as run_seconds,
               worker_id, unique_key, tags, null as reason{live}
          from {full}tasks
        union all
        select id, queue, func, {STATUS} as status, priority, attempts, crashes,
               {moments}, {shown("finished_at")},
               (started_at - run_at) as wait_seconds, (finished_at - started_at) as run_seconds,
               worker_id, unique_key, tags, reason as reason{ended}
          from {full}finished
    """)
