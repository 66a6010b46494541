"""The tables, as SQLAlchemy metadata.

Live tables stay small and hot, finished ones are only inserted into. The claim index holds
all rows, and a claim changes none of its columns: on PostgreSQL it is a heap-only update
that writes no index.

``migrations/`` creates the same tables; a test compares the two.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    false,
)
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS
from sqlalchemy.types import TypeEngine

from ...constants import DEFAULT_PREFIX
from ...exceptions import InvalidOptionError

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Timestamp(TypeDecorator[datetime]):
    """An aware datetime: ``timestamptz`` on PostgreSQL, Unix seconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Float())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return datetime.fromtimestamp(value, UTC)


HOT = {
    # Room on each page for new versions of all its rows: a claim of many takes whole pages
    # in one transaction, and makes the rows larger.
    "fillfactor": 45,
    # A queue's live size swings by orders of magnitude: thresholds, no fractions of the size.
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
    "autovacuum_vacuum_insert_scale_factor": 0,
    "autovacuum_vacuum_insert_threshold": 10000,
    "autovacuum_analyze_scale_factor": 0.05,
    "autovacuum_analyze_threshold": 5000,
    # Truncation takes an exclusive lock and cancels queries on standbys.
    "vacuum_truncate": "off",
}
"""Storage parameters of the tables that change all the time, on PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Names:
    """The prefix and the PostgreSQL schema of one installation."""

    prefix: str = DEFAULT_PREFIX
    schema: str | None = None

    def __post_init__(self) -> None:
        for name in (self.prefix, self.schema):
            if name is not None and not _NAME.fullmatch(name):
                raise InvalidOptionError(
                    f"{name!r} cannot be a table prefix or a schema: use a to z, 0 to 9 and _, at "
                    "most 40 characters, not starting with a digit."
                )
        # Names stand unquoted in SQL text.
        if self.schema in RESERVED_WORDS:
            raise InvalidOptionError(f"{self.schema!r} is a reserved word of SQL, not a schema.")

    def table(self, name: str) -> str:
        """Return the full name of the table or view ``name``, for use in SQL text."""
        return f"{self.schema}.{self.prefix}{name}" if self.schema else f"{self.prefix}{name}"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one installation."""

    names: Names
    metadata: MetaData
    tasks: Table
    payloads: Table
    finished: Table
    errors: Table
    results: Table
    workers: Table
    queues: Table


@cache
def build(names: Names) -> Tables:
    """Return the tables called by ``names``."""
    prefix = names.prefix
    metadata = MetaData(schema=names.schema)
    tasks = Table(
        f"{prefix}tasks",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("run_at", Timestamp, nullable=False),
        Column("created_at", Timestamp, nullable=False),
        Column("expires_at", Timestamp),
        # What a claim changes stands together: of the row only that goes into the log.
        Column("started_at", Timestamp),
        Column("worker_id", Uuid),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("status", SmallInteger, nullable=False, server_default="0"),
        Column("crashes", SmallInteger, nullable=False, server_default="0"),
        Column("lease", BigInteger, nullable=False, server_default="0"),
        Column("priority", SmallInteger, nullable=False, server_default="0"),
        Column("queue", Text, nullable=False),
        Column("func", Text, nullable=False),
        Column("unique_key", Text),
        Column("tags", Text),
        # Its worker died, and nobody knows whether the task had begun.
        Column("suspect", Boolean, nullable=False, server_default=false()),
        # Since when somebody wants it to stop, while it runs.
        Column("canceled_at", Timestamp),
        Column("progress", Float),
        Column("progress_message", Text),
        CheckConstraint("status in (0, 3, 4, 6, 7)", name=f"{prefix}tasks_status"),
        CheckConstraint("length(queue) between 1 and 128", name=f"{prefix}tasks_queue"),
        CheckConstraint("attempts >= 0 and crashes >= 0", name=f"{prefix}tasks_counts"),
        CheckConstraint("status <> 6 or worker_id is not null", name=f"{prefix}tasks_running"),
        postgresql_with=HOT,
    )
    Index(
        f"{prefix}tasks_claim", tasks.c.queue, tasks.c.priority.desc(), tasks.c.run_at, tasks.c.id
    )
    has_key = tasks.c.unique_key.is_not(None)
    Index(
        f"{prefix}tasks_unique_key",
        tasks.c.queue,
        tasks.c.unique_key,
        unique=True,
        postgresql_where=has_key,
        sqlite_where=has_key,
    )
    payloads = Table(
        f"{prefix}payloads",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("payload", Text, nullable=False),
    )
    finished = Table(
        f"{prefix}finished",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("run_at", Timestamp, nullable=False),
        Column("created_at", Timestamp, nullable=False),
        Column("finished_at", Timestamp, nullable=False),
        Column("started_at", Timestamp),
        Column("attempts", Integer, nullable=False),
        Column("priority", SmallInteger, nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("crashes", SmallInteger, nullable=False),
        Column("queue", Text, nullable=False),
        Column("func", Text, nullable=False),
        Column("worker_id", Uuid),
        Column("unique_key", Text),
        Column("tags", Text),
        Column("reason", Text),
        # Null for successes, which are not tried again, and where a release wrote the row that
        # did not keep it.
        Column("lease", BigInteger),
        CheckConstraint("status in (1, 2, 5)", name=f"{prefix}finished_status"),
    )
    Index(f"{prefix}finished_at", finished.c.finished_at)
    errors = Table(
        f"{prefix}errors",
        metadata,
        Column("task_id", Uuid, primary_key=True),
        Column("lease", BigInteger, primary_key=True, autoincrement=False),
        Column("at", Timestamp, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("kind", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("traceback", Text, nullable=False),
    )
    results = Table(
        f"{prefix}results",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("result", Text),
        Column("problem", Text),
    )
    workers = Table(
        f"{prefix}workers",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("expires_at", Timestamp, nullable=False),
        Column("started_at", Timestamp, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("host", Text, nullable=False),
        Column("queues", Text, nullable=False),
        postgresql_with={"fillfactor": 50},
    )
    # What operators say about a queue; one without a row is as if nobody had said anything.
    queues = Table(
        f"{prefix}queues",
        metadata,
        Column("name", Text, primary_key=True),
        Column("paused_at", Timestamp),
    )
    return Tables(names, metadata, tasks, payloads, finished, errors, results, workers, queues)
