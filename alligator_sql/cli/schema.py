"""``alligator-sql schema``: the tables of the queue, or the queues of SQS.

SQLAlchemy and Alembic are imported by the commands: a worker, which is another command, loads
nothing but what its store needs.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from ..backends import scheme_of
from ..constants import ALL, DEFAULT_PREFIX
from ..exceptions import Unsupported
from ..redaction import hide_password
from .parameters import PREFIX_HELP, Dsn, Schema

app = typer.Typer(no_args_is_help=True, help="Create, migrate and check the tables of the queue.")

Prefix = Annotated[str, typer.Option(envvar="ALLIGATOR_PREFIX", help=PREFIX_HELP)]
Queues = Annotated[
    str | None,
    typer.Option(
        "--queues",
        "-q",
        show_default=False,
        help=f"Of SQS only: the queues, mail,images; by default {ALL}.",
    ),
]


@app.command()
def upgrade(
    dsn: Dsn,
    revision: Annotated[str, typer.Option(help="Where to.")] = "head",
    prefix: Prefix = DEFAULT_PREFIX,
    schema: Schema = None,
    queues: Queues = None,
    dead_letter: Annotated[
        bool,
        typer.Option("--dead-letter", help="Of SQS only: give each queue a dead-letter queue."),
    ] = False,
    max_receives: Annotated[
        int,
        typer.Option(
            min=2,
            max=1000,
            help="With --dead-letter: how often SQS hands a task out before it goes there.",
        ),
    ] = 10,
) -> None:
    """Create the tables, or bring them up to date. Safe to run from many places at once.

    In SQS, create the queues that are missing.
    """
    if scheme_of(dsn) == "sqs":
        from ..backends.sqs import queues as in_sqs

        _check_sqs(prefix, schema)
        for line in in_sqs.create(dsn, _names(queues), max_receives if dead_letter else None):
            typer.echo(line)
        return
    _check_sql(queues, dead_letter=dead_letter)
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
    if scheme_of(dsn) == "sqs":
        raise Unsupported("SQS has no revisions to go back to. Delete queues by Amazon's tools.")
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
def current(
    dsn: Dsn, prefix: Prefix = DEFAULT_PREFIX, schema: Schema = None, queues: Queues = None
) -> None:
    """Print the revision of the database, or which queues there are in SQS."""
    if scheme_of(dsn) == "sqs":
        _show_queues(dsn, prefix, schema, queues)
        return
    _check_sql(queues)
    _show_revision(dsn, prefix, schema)


@app.command()
def check(
    dsn: Dsn, prefix: Prefix = DEFAULT_PREFIX, schema: Schema = None, queues: Queues = None
) -> None:
    """Compare the database with this release; exit code 1 when they differ.

    In SQS, see whether the queues are there.
    """
    if scheme_of(dsn) == "sqs":
        if _show_queues(dsn, prefix, schema, queues):
            raise typer.Exit(1)
        return
    _check_sql(queues)
    from ..backends.sql import migrating
    from ..backends.sql.schema import REVISION

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
    if scheme_of(dsn) == "sqs":
        raise Unsupported("SQS knows no statements. 'schema upgrade' creates its queues.")
    from ..backends.sql import migrating

    typer.echo(migrating.sql(dsn, revision, prefix=prefix, schema=schema), nl=False)


def _show_revision(dsn: str, prefix: str, schema: str | None) -> None:
    from ..backends.sql import migrating

    revision = migrating.current(dsn, prefix=prefix, schema=schema)
    typer.echo(f"revision {revision}" if revision else "no revision: there are no tables")


def _show_queues(dsn: str, prefix: str, schema: str | None, queues: str | None) -> bool:
    """Print a line for each queue in SQS, and return whether one is missing."""
    from ..backends.sqs import queues as in_sqs

    _check_sqs(prefix, schema)
    states = in_sqs.check(dsn, _names(queues))
    for name, state in states.items():
        typer.echo(f"queue {name}: {state}")
    return in_sqs.MISSING in states.values()


def _names(queues: str | None) -> Sequence[str]:
    names = [name.strip() for name in (queues or ALL).split(",")]
    if not all(names):
        raise typer.BadParameter(f"an empty name in {queues!r}", param_hint="--queues")
    return names


def _check_sqs(prefix: str, schema: str | None) -> None:
    if prefix != DEFAULT_PREFIX or schema is not None:
        raise Unsupported("SQS has no tables: give the prefix of its queues as sqs://…/?prefix=.")


def _check_sql(queues: str | None, *, dead_letter: bool = False) -> None:
    if queues is not None or dead_letter:
        raise Unsupported("--queues and --dead-letter are for SQS: tables hold every queue.")
