"""Parameters that several commands have."""

from typing import Annotated

import typer

Dsn = Annotated[
    str,
    typer.Argument(
        envvar="ALLIGATOR_CONN",
        metavar="DSN",
        show_default=False,
        help="postgresql://user@host/database, sqlite:///tasks.db, redis://host/0 or "
        "sqs://region/. In a variable a password does not show in the list of processes.",
    ),
]
PREFIX_HELP = "What the names of the tables start with."
Schema = Annotated[
    str | None,
    typer.Option(
        envvar="ALLIGATOR_SCHEMA",
        show_default=False,
        help="The PostgreSQL schema of the tables; by default the search path decides.",
    ),
]
