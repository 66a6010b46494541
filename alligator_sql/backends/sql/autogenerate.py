"""For the ``env.py`` of applications that have an Alembic of their own.

Either our tables are none of its business (:func:`exclude_tables`), or it creates them too
(:func:`include_tables`). ``docs/schema.md`` has examples.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import DateTime, Float, MetaData

from ...constants import DEFAULT_PREFIX
from . import views
from .schema import VERSION_TABLE
from .tables import Names, Timestamp, build

IncludeName = Callable[[str | None, str, Mapping[Any, str | None]], bool]
"""What Alembic takes as ``include_name``."""


def exclude_tables(*, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> IncludeName:
    """Return an ``include_name`` that hides our tables from an application's Alembic.

    Without it ``alembic revision --autogenerate`` proposes to drop them, as they are in the
    database and not in the application's metadata.

    Args:
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables, if it was given.

    Raises:
        InvalidOptionError: The prefix or the schema cannot be one.
    """
    names = Names(prefix, schema)
    ours = {table.name for table in build(names).metadata.tables.values()}
    ours |= {prefix + name for name in (VERSION_TABLE, *views.VIEWS)}

    def include_name(name: str | None, kind: str, parents: Mapping[Any, str | None]) -> bool:
        # The default schema of a connection has no name there, whatever it is called.
        is_ours = kind in ("table", "view") and name in ours
        return not (is_ours and parents.get("schema_name") in (schema, None))

    return include_name


def include_tables(
    target_metadata: MetaData, *, prefix: str = DEFAULT_PREFIX, schema: str | None = None
) -> None:
    """Add our tables to an application's metadata, so that its Alembic creates them.

    Views are not part of metadata: ``docs/schema.md`` shows how a migration creates them.

    Args:
        target_metadata: What the ``env.py`` of the application gives to Alembic.
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables, if not the default one.

    Raises:
        InvalidOptionError: The prefix or the schema cannot be one.
    """
    # Generated migrations must run without our package: no type of ours in them.
    moment = DateTime(timezone=True).with_variant(Float(), "sqlite")
    for table in build(Names(prefix, schema)).metadata.sorted_tables:
        for column in table.to_metadata(target_metadata).columns:
            if isinstance(column.type, Timestamp):
                column.type = moment
