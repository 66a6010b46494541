"""Writes the golden files: every statement as the drivers get it, for a reviewer to read.

Run ``python -m tests.golden.regenerate`` after a statement was changed on purpose, and with
``costs`` after a cost was, see :mod:`.costs`.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import ClauseElement, Insert, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from alligator_sql.backends.sql import single, sqlite
from alligator_sql.backends.sql.postgresql import PostgreSQL
from alligator_sql.backends.sql.sqlite import SQLite
from alligator_sql.backends.sql.statements import Statements
from alligator_sql.backends.sql.tables import Names, build

from . import costs

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.golden.regenerate"
WIDTH = 100
TAKES_ALL_COLUMNS = ("add_finished", "add_error")
"""Inserts whose columns come with the values."""


def golden(name: str) -> str:
    """Return what the golden file of the database ``name`` has to hold."""
    names = Names()
    dialect = PostgreSQL(names) if name == "postgresql" else SQLite(names)
    driver: Any = (
        PGDialect_psycopg() if name == "postgresql" else SQLiteDialect_pysqlite(paramstyle="named")
    )
    statements = Statements(build(names), dialect)
    parts = [f"-- Every statement, with the default names. Written by: {COMMAND}\n"]
    owners = [(type(owner).__module__, _statements(owner)) for owner in (dialect, statements)]
    owners.insert(0, (single.__name__, _singles(names, name)))
    for module, clauses in owners:
        parts.append(f"\n\n-- {module}\n")
        for title, clause in clauses:
            parts.append(f"\n-- {title}\n{_compiled(title, clause, driver)};\n")
    return "".join(parts)


def _compiled(title: str, clause: ClauseElement, driver: Any) -> str:
    columns = None
    if title in TAKES_ALL_COLUMNS:
        assert isinstance(clause, Insert)
        columns = [column.name for column in clause.table.columns]
    sql = inspect.cleandoc(str(clause.compile(dialect=driver, column_keys=columns)))
    sql = re.sub(r"__\[POSTCOMPILE_(\w+)\]", r"… \1 …", sql)
    return "\n".join(line for wide in sql.splitlines() for line in _wrapped(wide.rstrip()))


def _wrapped(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line,
        WIDTH,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _singles(names: Names, database: str) -> Iterator[tuple[str, ClauseElement]]:
    kinds: list[tuple[str, ...]] = [
        (),
        ("delay", "expires_in", "tags"),
        ("run_at", "expires_at"),
    ]
    for options in kinds:
        title = " ".join(("one task,", *options)).strip(",")
        if database == "postgresql":
            yield title, text(single.insert(names, options, notifies=bool(options)))
        else:
            yield title, text(sqlite.insert_one(names.table("tasks"), options))


def _statements(owner: object) -> Iterator[tuple[str, ClauseElement]]:
    for attribute, value in vars(owner).items():
        title = attribute.strip("_")
        if isinstance(value, str):
            yield title, text(value)
        elif isinstance(value, ClauseElement):
            yield title, value
        elif isinstance(value, tuple):
            for number, clause in enumerate(value, 1):
                yield f"{title} {number}", clause


def path(name: str) -> Path:
    """Return where the golden file of the database ``name`` is."""
    return FOLDER / f"{name}.sql"


if __name__ == "__main__":
    if sys.argv[1:] == ["costs"]:
        costs.write()
        sys.exit()
    for database in ("postgresql", "sqlite"):
        path(database).write_text(golden(database), encoding="utf-8")
