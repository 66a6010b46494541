"""Pausing queues, and trying ended tasks again.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of queues, keep the last lease of ended tasks, show what is paused."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    is_sqlite = op.get_context().dialect.name == "sqlite"
    op.create_table(
        f"{prefix}queues",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("paused_at", sa.Float() if is_sqlite else sa.DateTime(timezone=True)),
        schema=schema,
    )
    # Without a default: no row is rewritten, and the table is locked for a moment only.
    op.add_column(f"{prefix}finished", sa.Column("lease", sa.BigInteger()), schema=schema)
    full = f"{schema}.{prefix}" if schema else prefix
    paused = (
        f", exists (select 1 from {full}queues where name = queue and paused_at is not null) "
        "as paused"
    )
    if is_sqlite:
        op.execute(f"drop view {full}queue_depth")
        create_sqlite_view(full, paused)
    else:
        # Replaced and not dropped: the rights of reporting roles stay.
        create_postgresql_view(full, paused)


def downgrade() -> None:
    """Forget what is paused. A role that may read the view needs that right again."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    full = f"{schema}.{prefix}" if schema else prefix
    op.execute(f"drop view {full}queue_depth")
    if op.get_context().dialect.name == "sqlite":
        create_sqlite_view(full)
    else:
        create_postgresql_view(full)
    op.drop_column(f"{prefix}finished", "lease", schema=schema)
    op.drop_table(f"{prefix}queues", schema=schema)


def create_postgresql_view(full: str, more: str = "") -> None:
    """Create the view of queues, or add a column; ``full`` is what its name starts with."""
    op.execute(f"""
        create or replace view {full}queue_depth as
        select queue,
               sum(case when status <> 6 and run_at <= now() then 1 else 0 end) as due,
               sum(case when status <> 6 and run_at > now() then 1 else 0 end) as later,
               sum(case when status <> 6 then 0 else 1 end) as running,
               max(case when status <> 6 and run_at <= now()
                        then extract(epoch from now() - run_at)::float8 end)
                   as oldest_due_seconds{more}
          from {full}tasks
         group by queue
    """)


def create_sqlite_view(full: str, more: str = "") -> None:
    """Create the same view on SQLite, where moments are Unix seconds."""
    now = "((julianday('now') - 2440587.5) * 86400.0)"
    op.execute(f"""
        create view {full}queue_depth as
        select queue,
               sum(case when status <> 6 and run_at <= {now} then 1 else 0 end) as due,
               sum(case when status <> 6 and run_at > {now} then 1 else 0 end) as later,
               sum(case when status <> 6 then 0 else 1 end) as running,
               max(case when status <> 6 and run_at <= {now} then ({now} - run_at) end)
                   as oldest_due_seconds{more}
          from {full}tasks
         group by queue
    """)
