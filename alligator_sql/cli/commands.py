"""The commands of ``alligator-sql``, and the one of ``latergator.py``."""

from typing import Annotated

import typer

from . import migrate_from, queue, schema, worker

app = typer.Typer(
    help="A task queue in the database that your application already has.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(schema.app, name="schema")
app.add_typer(queue.app, name="queue")
app.command("worker")(worker.run)
app.command("migrate-from")(migrate_from.run)

# Alligator 1.0's script has one command, so its name is not typed.
latergator_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
latergator_app.command()(worker.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"alligator-sql {version('alligator-sql')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
