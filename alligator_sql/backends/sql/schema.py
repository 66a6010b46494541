"""The schema of the database: whether it is there, and how it comes to be.

:func:`verify` and :func:`create` are steps, which run on any connection.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from ...constants import DEFAULT_PREFIX
from ...exceptions import SchemaError
from . import views
from .dialects import Steps
from .tables import Names, build

REVISION: Final = "0003"
"""The revision of the tables that this release works with: the newest in ``migrations/``."""

VERSION_TABLE = "version"
"""Where Alembic keeps the revision of an installation, after the prefix."""


def upgrade(
    dsn: str,
    revision: str = "head",
    *,
    prefix: str = DEFAULT_PREFIX,
    schema: str | None = None,
) -> None:
    """Bring the database to ``revision``, as ``alligator-sql schema upgrade`` does.

    Processes that do it at once wait for each other.

    Args:
        dsn: ``postgresql://…`` or ``sqlite:///…``.
        revision: A number, or ``head`` for the newest.
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables, created when it is missing.

    Raises:
        SchemaError: The migration is not possible; nothing was changed.
        StoreUnavailableError: The database does not answer.
        UnknownBackendError: The connection string cannot be read.
    """
    from . import migrating  # imports Alembic, which producers do not need

    migrating.upgrade(dsn, revision, prefix=prefix, schema=schema)


def verify(names: Names, dialect_name: str) -> Steps[None]:
    """Check that the tables are there and not older than this release.

    Reads the catalog only, so that it fails in no transaction of a caller. Newer tables are
    good: migrations add, and workers of two releases share them during a deployment.

    Raises:
        SchemaError: They are missing or too old; the message names the command that helps.
    """
    found = yield from _columns(names, dialect_name)
    _check_columns(names, found)
    # Without it the tables belong to the application's Alembic, or to create_all(). And a
    # role that may only enqueue need not be able to read it.
    if names.prefix + VERSION_TABLE in found:
        revisions = yield f"select version_num from {names.table(VERSION_TABLE)}", {}
        revision = max((row[0] for row in revisions), default="none")
        if revision == "none" or revision < REVISION:
            raise SchemaError(
                f"The schema of the database is at revision {revision}, this release needs "
                f"{REVISION}. {_advice(names)}"
            )


def create(names: Names) -> Steps[None]:
    """Create the tables and views of a SQLite database that has none of them, and verify.

    Plain statements that may run twice, so that processes which meet here do no harm. They
    become part of the caller's transaction, if there is one.

    Raises:
        SchemaError: There are tables, and they are too old.
    """
    found = yield from _columns(names, "sqlite")
    if not found or (yield from _has_lost_revision(names, found)):
        for statement in _sqlite_statements(names):
            yield statement, {}
    yield from verify(names, "sqlite")


def _has_lost_revision(names: Names, found: Mapping[str, set[str]]) -> Steps[bool]:
    """Whether all tables are there but no revision: creating them was rolled back in part.

    Earlier releases could do that to a file, because the sqlite3 module begins no
    transaction before a CREATE.
    """
    if not found.keys() >= {*_expected(names), names.prefix + VERSION_TABLE}:
        return False
    revisions = yield f"select 1 from {names.table(VERSION_TABLE)}", {}
    return not revisions


def _columns(names: Names, dialect_name: str) -> Steps[dict[str, set[str]]]:
    """Return the columns of each table of ``names`` that exists and can be read."""
    tables = [*_expected(names), names.prefix + VERSION_TABLE]
    if dialect_name == "sqlite":
        rows = yield (
            """
            select t.name, c.name
              from sqlite_master as t, pragma_table_info(t.name) as c
             where t.type = 'table' and t.name in (select value from json_each(:tables))
            """,
            {"tables": json.dumps(tables)},
        )
    else:
        rows = yield (
            """
            select t.relname, a.attname
              from pg_class t
              join pg_namespace n on n.oid = t.relnamespace
              join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
             where t.relname = any(cast(:tables as text[]))
               and case when cast(:schema as text) is null then pg_table_is_visible(t.oid)
                        else n.nspname = :schema end
               and (t.relname <> :version
                    or has_schema_privilege(n.oid, 'usage')
                       and has_table_privilege(t.oid, 'select'))
            """,
            {
                "tables": tables,
                "schema": names.schema,
                "version": names.prefix + VERSION_TABLE,
            },
        )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def _check_columns(names: Names, found: Mapping[str, set[str]]) -> None:
    for table, columns in _expected(names).items():
        if table not in found:
            raise SchemaError(f"The database has no table {table}. {_advice(names)}")
        missing = sorted(columns - found[table])
        if missing:
            raise SchemaError(
                f"The table {table} is older than this release: it has no column {missing[0]}. "
                f"{_advice(names)}"
            )


def _expected(names: Names) -> dict[str, set[str]]:
    tables = build(names).metadata.tables.values()
    return {table.name: {column.name for column in table.columns} for table in tables}


def _advice(names: Names) -> str:
    prefix = f" --prefix {names.prefix}" if names.prefix != DEFAULT_PREFIX else ""
    schema = f" --schema {names.schema}" if names.schema else ""
    return f"Run: alligator-sql schema upgrade{prefix}{schema}"


def _sqlite_statements(names: Names) -> Iterator[str]:
    dialect = sqlite.dialect()
    metadata = build(names).metadata
    version = _version_table(names)
    for table in (*metadata.sorted_tables, version):
        yield str(CreateTable(table, if_not_exists=True).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect))
    for definition in views.definitions(names, "sqlite").values():
        yield definition.replace("create view", "create view if not exists", 1)
    yield (
        f"insert into {version.name} select '{REVISION}' "
        f"where not exists (select 1 from {version.name})"
    )


def _version_table(names: Names) -> Table:
    """Return the table as Alembic makes it."""
    name = names.prefix + VERSION_TABLE
    return Table(
        name,
        MetaData(schema=names.schema),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
    )
