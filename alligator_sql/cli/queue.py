"""``alligator-sql queue``: what an operator does to a queue and its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..constants import ALL
from ..gator import Gator
from . import console, parameters
from .groups import Group
from .parameters import Argument, option

_queue = option(
    "--queue", "-q", default=ALL, envvar="ALLIGATOR_QUEUE", help="The name of the queue."
)


@click.group("queue", cls=Group)
def group() -> None:
    """Pause and resume a queue, let a task run again."""


@group.command()
@parameters.dsn
@_queue
@parameters.prefix
@parameters.schema
def pause(dsn: str, queue: str, prefix: str | None, schema: str | None) -> None:
    """Let workers start nothing of the queue. What they hold already is finished."""
    with _opened(dsn, queue, prefix, schema) as gator:
        gator.pause()
    click.echo(f"{queue} is paused")


@group.command()
@parameters.dsn
@_queue
@parameters.prefix
@parameters.schema
def resume(dsn: str, queue: str, prefix: str | None, schema: str | None) -> None:
    """End a pause: the workers go on at once."""
    with _opened(dsn, queue, prefix, schema) as gator:
        gator.resume()
    click.echo(f"{queue} goes on")


@group.command()
@parameters.dsn
@_queue
@parameters.prefix
@parameters.schema
def status(dsn: str, queue: str, prefix: str | None, schema: str | None) -> None:
    """Print how many tasks of the queue wait, and whether it is paused."""
    with _opened(dsn, queue, prefix, schema) as gator:
        paused = gator.store.capabilities.pause and gator.is_paused()
        click.echo(f"{queue}: {gator.len()} waiting{', paused' if paused else ''}")


@group.command()
@parameters.dsn
@click.argument("task_id", cls=Argument, metavar="TASK_ID", help="The id of the task.")
@_queue
@parameters.prefix
@parameters.schema
def retry(dsn: str, task_id: str, queue: str, prefix: str | None, schema: str | None) -> None:
    """Let a task that failed or was canceled run again. The exit code is 1 when it does not."""
    with _opened(dsn, queue, prefix, schema) as gator:
        if not gator.retry(task_id):
            console.fail(
                f"The task {task_id} stays as it is: it is unknown here, has neither failed nor "
                "been canceled, or a task with its unique key lives."
            )
    click.echo(f"{task_id} waits again")


@contextmanager
def _opened(dsn: str, queue: str, prefix: str | None, schema: str | None) -> Iterator[Gator]:
    gator = Gator(dsn, queue, prefix=prefix, schema=schema)
    try:
        yield gator
    finally:
        gator.close()
