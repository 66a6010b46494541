"""How Alembic reaches the tables of alligator-sql.

The options ``dsn``, ``prefix`` and ``schema`` come from ``alligator_sql.backends.sql.schema``
or from ``alembic -x name=value``. Everything happens in one transaction that others who
migrate the same database wait for.
"""

import os
from collections.abc import Mapping
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, make_url, text

from alligator_sql.backends.sql import engines, tables
from alligator_sql.backends.sql.tables import Names
from alligator_sql.constants import DEFAULT_PREFIX

LOCK = int.from_bytes(b"alligato")
"""The key of the PostgreSQL advisory lock that migrations of one database queue for."""


def options() -> Mapping[str, Any]:
    """Return the options of this run."""
    given = {**context.get_x_argument(as_dictionary=True), **context.config.attributes}
    unknown = given.keys() - {"dsn", "prefix", "schema"}
    if unknown:
        raise CommandError(f"Unknown: -x {' '.join(unknown)}. Known: dsn, prefix, schema.")
    return given


def dsn(given: Mapping[str, Any]) -> str:
    """Return the connection string of this run."""
    found = (
        given.get("dsn")
        or os.environ.get("ALLIGATOR_CONN")
        or context.config.get_main_option("sqlalchemy.url")
    )
    if not found:
        raise CommandError(
            "No database is named: give -x dsn=postgresql://…, or set ALLIGATOR_CONN, or "
            "sqlalchemy.url in alembic.ini."
        )
    return str(found)


def configure(names: Names, **how: Any) -> None:
    """Tell Alembic which tables are ours: whatever else is in the database is not looked at."""
    metadata = tables.build(names).metadata
    ours = {table.name for table in metadata.tables.values()}

    def include_name(name: str | None, kind: str, parents: Mapping[Any, str | None]) -> bool:
        if kind == "schema":
            return name == names.schema
        if kind == "table":
            return name in ours and parents["schema_name"] == names.schema
        return True

    context.configure(
        target_metadata=metadata,
        include_schemas=names.schema is not None,
        include_name=include_name,
        version_table=f"{names.prefix}version",
        version_table_schema=names.schema,
        prefix=names.prefix,
        schema=names.schema,
        **how,
    )


def offline(url: str, names: Names) -> None:
    """Write the statements instead of executing them; needs neither database nor driver."""
    configure(
        names,
        dialect_name=make_url(url).get_backend_name(),
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if context.get_context().dialect.name == "postgresql":
            context.execute(f"select pg_advisory_xact_lock({LOCK})")
            if names.schema:
                context.execute(f"create schema if not exists {names.schema}")
        context.run_migrations()


def online(url: str, names: Names) -> None:
    """Execute the statements in one transaction, alone."""
    engine = engines.create(url, limited=False)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("begin immediate")
            else:
                names = begin_on_postgresql(connection, names)
            configure(names, connection=connection)
            if context.get_context().opts.get("dont_mutate"):
                context.run_migrations()
            else:
                migrate(connection, names)
            connection.commit()
    finally:
        engine.dispose()


def migrate(connection: Connection, names: Names) -> None:
    """Run the migrations, and leave nothing behind when they took everything back."""
    if names.schema:
        create_schema(connection, names.schema)
    context.run_migrations()
    if not context.get_context().get_current_heads():
        connection.exec_driver_sql(f"drop table if exists {names.table('version')}")


def begin_on_postgresql(connection: Connection, names: Names) -> Names:
    """Begin, wait for those who migrate now, and return the names as reflection knows them."""
    # What was committed while we waited must be visible, whatever the server's default is.
    connection.execution_options(isolation_level="READ COMMITTED")
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LOCK})
    is_default = names.schema == connection.scalar(text("select current_schema()"))
    return Names(names.prefix) if is_default else names


def create_schema(connection: Connection, name: str) -> None:
    """Create a schema, if it is missing: the statement needs a right even if it does nothing."""
    known = text("select exists (select 1 from pg_namespace where nspname = :name)")
    if not connection.scalar(known, {"name": name}):
        connection.exec_driver_sql(f"create schema {name}")


def main() -> None:
    """Run what Alembic was asked for."""
    given = options()
    url = dsn(given)
    names = Names(given.get("prefix") or DEFAULT_PREFIX, given.get("schema") or None)
    if names.schema and make_url(url).get_backend_name() == "sqlite":
        raise CommandError("SQLite has no schemas: use a prefix.")
    if context.is_offline_mode():
        offline(url, names)
    else:
        online(url, names)


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
main()
