"""Migrations by Alembic, for the command line and for deployments.

The only module that imports Alembic, so nothing but :func:`.schema.upgrade` and the command
line imports it.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from ...constants import DEFAULT_PREFIX
from ...exceptions import SchemaError, StoreUnavailableError, UnknownBackendError
from . import views
from .schema import REVISION
from .tables import Names

T = TypeVar("T")


def upgrade(
    dsn: str,
    revision: str = "head",
    *,
    prefix: str = DEFAULT_PREFIX,
    schema: str | None = None,
) -> None:
    """Do what :func:`.schema.upgrade` does."""
    with _translated():
        command.upgrade(_config(dsn, prefix, schema), revision)


def downgrade(
    dsn: str, revision: str, *, prefix: str = DEFAULT_PREFIX, schema: str | None = None
) -> None:
    """Take the database back to ``revision``; ``base`` drops every table with its tasks.

    Raises:
        SchemaError: The migration is not possible; nothing was changed.
        StoreUnavailableError: The database does not answer.
        UnknownBackendError: The connection string cannot be read.
    """
    with _translated():
        command.downgrade(_config(dsn, prefix, schema), revision)


def current(dsn: str, *, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> str | None:
    """Return the revision of the database, or None when it has none.

    Raises:
        StoreUnavailableError: The database does not answer.
        UnknownBackendError: The connection string cannot be read.
    """
    return _look(_config(dsn, prefix, schema), lambda context: context.get_current_revision())


def check(dsn: str, *, prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> list[str]:
    """Return in what the database differs from this release; nothing when it is as it must be.

    Raises:
        StoreUnavailableError: The database does not answer.
        UnknownBackendError: The connection string cannot be read.
    """
    return _look(_config(dsn, prefix, schema), _differences)


def sql(
    dsn: str,
    revision: str = "head",
    *,
    prefix: str = DEFAULT_PREFIX,
    schema: str | None = None,
) -> str:
    """Return the statements of :func:`upgrade` for an empty database, as a script.

    Args:
        dsn: Says for which kind of database; nothing is connected.
        revision: Where to; ``0001:0002`` for a database that is at 0001 already.
        prefix: What the names of the tables start with.
        schema: The PostgreSQL schema of the tables.

    Raises:
        SchemaError: There is no such revision.
        UnknownBackendError: The connection string cannot be read.
    """
    config = _config(dsn, prefix, schema)
    config.output_buffer = io.StringIO()
    with _translated():
        command.upgrade(config, revision, sql=True)
    return config.output_buffer.getvalue()


def _config(dsn: str, prefix: str, schema: str | None) -> Config:
    Names(prefix, schema)
    try:
        database = make_url(dsn).get_backend_name()
    except (ArgumentError, ValueError):
        database = ""
    if database not in ("postgresql", "sqlite"):
        # The string may hold a password: it is not repeated.
        raise UnknownBackendError(
            "Only databases have a schema: postgresql://user@host/database or sqlite:///tasks.db. "
            "Redis needs none."
        )
    config = Config(attributes={"dsn": dsn, "prefix": prefix, "schema": schema})
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """Return the folder with the migrations: in the wheel, or beside the package."""
    package = Path(__file__).parents[2]
    shipped = package / "migrations"
    return shipped if shipped.exists() else package.parent / "migrations"


def _look(config: Config, question: Callable[[MigrationContext], T]) -> T:
    """Answer a question about the database the way Alembic sees it, changing nothing."""
    answers: list[T] = []

    def ask(_revision: object, context: MigrationContext) -> list[Any]:
        answers.append(question(context))
        return []

    scripts = ScriptDirectory.from_config(config)
    with _translated(), EnvironmentContext(config, scripts, fn=ask, dont_mutate=True):
        scripts.run_env()
    return answers[0]


def _differences(context: MigrationContext) -> list[str]:
    names = Names(context.opts["prefix"], context.opts["schema"])
    revision = context.get_current_revision()
    differences = []
    if revision != REVISION:
        differences.append(f"the revision is {revision or 'none'}, not {REVISION}")
    for difference in compare_metadata(context, context.opts["target_metadata"]):
        differences += _described(difference)
    inspector = inspect(context.connection)
    known = set(inspector.get_view_names(names.schema))
    missing = (view for view in views.VIEWS if names.prefix + view not in known)
    return differences + [f"add view {names.prefix}{view}" for view in missing]


def _described(difference: Any) -> Iterator[str]:
    """Say what Alembic would do about one difference."""
    if isinstance(difference, list):  # the changes of one column
        for change in difference:
            yield from _described(change)
        return
    kind, *what = difference
    if kind.startswith("modify"):
        _, table, column, _, is_now, must_be = what
        yield f"{kind.replace('_', ' ')} of {table}.{column} from {is_now!r} to {must_be!r}"
    else:
        parts = (part if isinstance(part, str) else getattr(part, "name", None) for part in what)
        yield f"{kind.replace('_', ' ')} {'.'.join(filter(None, parts))}"


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of Alembic and of the driver into ours."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailableError(f"The database does not answer: {error.orig}") from error
    except DBAPIError as error:
        raise SchemaError(f"The database refused: {error.orig}") from error
    except CommandError as error:
        raise SchemaError(str(error)) from error
