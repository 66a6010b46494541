"""``alligator-sql schema``: the tables of the queue, or the queues of SQS.

SQLAlchemy and Alembic are imported by the commands: neither help nor SQS needs them.
"""

import sys

import click

from ..backends import scheme_of
from ..constants import ALL, DEFAULT_PREFIX
from ..exceptions import Unsupported
from ..redaction import hide_password
from . import parameters
from .groups import Group
from .parameters import PREFIX_HELP, names_in, option

_prefix = option("--prefix", default=DEFAULT_PREFIX, envvar="ALLIGATOR_PREFIX", help=PREFIX_HELP)
_queues = option("--queues", "-q", help=f"Of SQS only: the queues, mail,images; by default {ALL}.")


@click.group("schema", cls=Group)
def group() -> None:
    """Create, migrate and check the tables of the queue."""


@group.command()
@parameters.dsn
@option("--revision", default="head", help="Where to.")
@_prefix
@parameters.schema
@_queues
@option("--dead-letter", is_flag=True, help="Of SQS only: give each queue a dead-letter queue.")
@option(
    "--max-receives",
    type=click.IntRange(2, 1000),
    default=10,
    help="With --dead-letter: how often SQS hands a task out before it goes there.",
)
def upgrade(
    dsn: str,
    revision: str,
    prefix: str,
    schema: str | None,
    queues: str | None,
    dead_letter: bool,
    max_receives: int,
) -> None:
    """Create the tables, or bring them up to date. Safe to run from many places at once.

    In SQS, create the queues that are missing.
    """
    if scheme_of(dsn) == "sqs":
        from ..backends.sqs import queues as in_sqs

        _check_sqs(prefix, schema)
        for line in in_sqs.create(
            dsn, names_in(queues or ALL, "--queues"), max_receives if dead_letter else None
        ):
            click.echo(line)
        return
    _check_sql(queues, dead_letter=dead_letter)
    from ..backends.sql import migrating

    migrating.upgrade(dsn, revision, prefix=prefix, schema=schema)
    _show_revision(dsn, prefix, schema)


@group.command()
@parameters.dsn
@option("--revision", default="-1", help="Where to: a revision, a number of steps, or base.")
@_prefix
@parameters.schema
@option("--yes", "-y", is_flag=True, help="Do not ask.")
def downgrade(dsn: str, revision: str, prefix: str, schema: str | None, yes: bool) -> None:
    """Take the tables back to an older revision. What that did not have is lost."""
    if scheme_of(dsn) == "sqs":
        raise Unsupported("SQS has no revisions to go back to. Delete queues by Amazon's tools.")
    from ..backends.sql import migrating

    if not yes:
        question = (
            f"Take the tables {prefix}* in {hide_password(dsn)} back to {revision}? "
            "What that revision does not have is dropped; base drops every task"
        )
        click.confirm(question, abort=True, err=True)
    migrating.downgrade(dsn, revision, prefix=prefix, schema=schema)
    _show_revision(dsn, prefix, schema)


@group.command()
@parameters.dsn
@_prefix
@parameters.schema
@_queues
def current(dsn: str, prefix: str, schema: str | None, queues: str | None) -> None:
    """Print the revision of the database. Of SQS, print which queues there are."""
    if scheme_of(dsn) == "sqs":
        _show_queues(dsn, prefix, schema, queues)
        return
    _check_sql(queues)
    _show_revision(dsn, prefix, schema)


@group.command()
@parameters.dsn
@_prefix
@parameters.schema
@_queues
def check(dsn: str, prefix: str, schema: str | None, queues: str | None) -> None:
    """Compare the database with this release. The exit code is 1 when they differ.

    In SQS, see whether the queues are there.
    """
    if scheme_of(dsn) == "sqs":
        if _show_queues(dsn, prefix, schema, queues):
            sys.exit(1)
        return
    _check_sql(queues)
    from ..backends.sql import migrating
    from ..backends.sql.schema import REVISION

    differences = migrating.check(dsn, prefix=prefix, schema=schema)
    if not differences:
        click.echo(f"The tables are as release {REVISION} of the schema wants them.")
        return
    click.echo(f"The tables are not as release {REVISION} of the schema wants them:")
    for difference in differences:
        click.echo(f"  {difference}")
    sys.exit(1)


@group.command()
@parameters.dsn
@option("--revision", default="head", help="Where to; 0001:0002 when the database is at 0001.")
@_prefix
@parameters.schema
def sql(dsn: str, revision: str, prefix: str, schema: str | None) -> None:
    """Print the statements of an upgrade for somebody else to run. Connects to nothing."""
    if scheme_of(dsn) == "sqs":
        raise Unsupported("SQS knows no statements. 'schema upgrade' creates its queues.")
    from ..backends.sql import migrating

    click.echo(migrating.sql(dsn, revision, prefix=prefix, schema=schema), nl=False)


def _show_revision(dsn: str, prefix: str, schema: str | None) -> None:
    from ..backends.sql import migrating

    revision = migrating.current(dsn, prefix=prefix, schema=schema)
    click.echo(f"revision {revision}" if revision else "no revision: there are no tables")


def _show_queues(dsn: str, prefix: str, schema: str | None, queues: str | None) -> bool:
    """Print a line for each queue in SQS, and return whether one is missing."""
    from ..backends.sqs import queues as in_sqs

    _check_sqs(prefix, schema)
    states = in_sqs.check(dsn, names_in(queues or ALL, "--queues"))
    for name, state in states.items():
        click.echo(f"queue {name}: {state}")
    return in_sqs.MISSING in states.values()


def _check_sqs(prefix: str, schema: str | None) -> None:
    if prefix != DEFAULT_PREFIX or schema is not None:
        raise Unsupported("SQS has no tables: give the prefix of its queues as sqs://…/?prefix=.")


def _check_sql(queues: str | None, *, dead_letter: bool = False) -> None:
    if queues is not None or dead_letter:
        raise Unsupported("--queues and --dead-letter are for SQS: tables hold every queue.")
