"""The commands of ``alligator-sql``.

Each is imported when it is asked for: a worker runs for long, and what it has once loaded stays
in its memory.
"""

import click

from .groups import Elsewhere, Group


@click.group(
    cls=Group,
    commands=[
        Elsewhere("worker", f"{__package__}.worker:run"),
        Elsewhere("migrate-from", f"{__package__}.migrate_from:run"),
        Elsewhere("schema", f"{__package__}.schema:group"),
        Elsewhere("queue", f"{__package__}.queue:group"),
    ],
)
@click.version_option(
    package_name="alligator-sql",
    prog_name="alligator-sql",
    message="%(prog)s %(version)s",
    help="Print the version and exit.",
)
def program() -> None:
    """A task queue in the database that your application already has."""
