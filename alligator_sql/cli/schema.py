"""``alligator-sql schema``: the tables of the queue.

Alembic is imported by the commands: a worker, which is another command, does without.
"""

from typing import Annotated

import typer

from ..backends.sql.schema import REVISION
from ..backends.sql.tables import DEFAULT_PREFIX
from ..redaction import hide_password
from .parameters import PREFIX_HELP, Dsn, Schema

app = typer.Typer(no_args_is_help=True, help="Create, migrate and check the tables of the queue.")

Prefix = Annotated[str, typer.Option(envvar="ALLIGATOR_PREFIX", help=PREFIX_HELP)]


@app.command()
def upgrade(
    dsn: Dsn,
    revision: Annotated[str, typer.Option(help="Where to.")] = "head",
    prefix: Prefix = DEFAULT_PREFIX,
    schema: Schema = None,
) -> None:
    """Create the tables, or bring them up to date. Safe to run from many places at once."""
    from ..backends.sql import migrating

    migrating.upgrade(dsn, revision, prefix=prefix, schema=schema)
    _show_revision(dsn, prefix, schema)


@app.command()
def downgrade(
    dsn: Dsn,
    revision: Annotated[
        str, typer.Option(help="Where to: a revision, a number of steps, or base.")
    ] = "-1",
    prefix: Prefix = DEFAULT_PREFIX,
    schema: Schema = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take the tables back to an older revision. What that did not have is lost."""
    from ..backends.sql import migrating

    if not yes:
        question = (
            f"Take the tables {prefix}* in {hide_password(dsn)} back to {revision}? "
            "What that revision does not have is dropped; base drops every task"
        )
        typer.confirm(question, abort=True, err=True)
    migrating.downgrade(dsn, revision, prefix=prefix, schema=schema)
    _show_revision(dsn, prefix, schema)


@app.command()
def current(dsn: Dsn, prefix: Prefix = DEFAULT_PREFIX, schema: Schema = None) -> None:
    """Print the revision of the database."""
    _show_revision(dsn, prefix, schema)


@app.command()
def check(dsn: Dsn, prefix: Prefix = DEFAULT_PREFIX, schema: Schema = None) -> None:
    """Compare the database with this release; exit code 1 when they differ."""
    from ..backends.sql import migrating

    differences = migrating.check(dsn, prefix=prefix, schema=schema)
    if not differences:
        typer.echo(f"The tables are as release {REVISION} of the schema wants them.")
        return
    typer.echo(f"The tables are not as release {REVISION} of the schema wants them:")
    for difference in differences:
        typer.echo(f"  {difference}")
    raise typer.Exit(1)


@app.command()
def sql(
    dsn: Dsn,
    revision: Annotated[
        str, typer.Option(help="Where to; 0001:0002 when the database is at 0001.")
    ] = "head",
    prefix: Prefix = DEFAULT_PREFIX,
    schema: Schema = None,
) -> None:
    """Print the statements of an upgrade for somebody else to run. Connects to nothing."""
    from ..backends.sql import migrating

    typer.echo(migrating.sql(dsn, revision, prefix=prefix, schema=schema), nl=False)


def _show_revision(dsn: str, prefix: str, schema: str | None) -> None:
    from ..backends.sql import migrating

    revision = migrating.current(dsn, prefix=prefix, schema=schema)
    typer.echo(f"revision {revision}" if revision else "no revision: there are no tables")
