"""``alligator-sql queue``: what an operator does to a queue and its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..constants import ALL
from ..gator import Gator
from . import console
from .parameters import PREFIX_HELP, Dsn, Schema

app = typer.Typer(no_args_is_help=True, help="Pause and resume a queue, let a task run again.")

Queue = Annotated[
    str, typer.Option("--queue", "-q", envvar="ALLIGATOR_QUEUE", help="The name of the queue.")
]
Prefix = Annotated[
    str | None, typer.Option(envvar="ALLIGATOR_PREFIX", show_default=False, help=PREFIX_HELP)
]


@app.command()
def pause(dsn: Dsn, queue: Queue = ALL, prefix: Prefix = None, schema: Schema = None) -> None:
    """Let workers start nothing of the queue. What they hold already is finished."""
    with _opened(dsn, queue, prefix, schema) as gator:
        gator.pause()
    typer.echo(f"{queue} is paused")


@app.command()
def resume(dsn: Dsn, queue: Queue = ALL, prefix: Prefix = None, schema: Schema = None) -> None:
    """End a pause: the workers go on at once."""
    with _opened(dsn, queue, prefix, schema) as gator:
        gator.resume()
    typer.echo(f"{queue} goes on")


@app.command()
def status(dsn: Dsn, queue: Queue = ALL, prefix: Prefix = None, schema: Schema = None) -> None:
    """Print how many tasks of the queue wait, and whether it is paused."""
    with _opened(dsn, queue, prefix, schema) as gator:
        paused = gator.store.capabilities.pause and gator.is_paused()
        typer.echo(f"{queue}: {gator.len()} waiting{', paused' if paused else ''}")


@app.command()
def retry(
    dsn: Dsn,
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The id of the task.")],
    queue: Queue = ALL,
    prefix: Prefix = None,
    schema: Schema = None,
) -> None:
    """Let a task that failed or was canceled run again; exit code 1 when it does not."""
    with _opened(dsn, queue, prefix, schema) as gator:
        if not gator.retry(task_id):
            console.fail(
                f"The task {task_id} stays as it is: it is unknown here, has neither failed nor "
                "been canceled, or a task with its unique key lives."
            )
    typer.echo(f"{task_id} waits again")


@contextmanager
def _opened(dsn: str, queue: str, prefix: str | None, schema: str | None) -> Iterator[Gator]:
    gator = Gator(dsn, queue, prefix=prefix, schema=schema)
    try:
        yield gator
    finally:
        gator.close()
