"""``alligator-sql migrate-from``: the tasks of Alligator 1.0."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from ..constants import ALL
from ..exceptions import Unsupported
from ..gator import Gator
from ..legacy_stores import Left, Move, open_store
from ..legacy_stores.move import BATCH
from . import parameters
from .console import errors, one_line
from .parameters import Argument, names_in, option

if TYPE_CHECKING:
    from rich.progress import Progress

LONGEST_LINE = 300
"""Characters that are shown of an id or a reason: what is stored may be of any length."""


@click.command("migrate-from")
@click.argument(
    "source",
    cls=Argument,
    envvar="ALLIGATOR_FROM",
    metavar="DSN",
    help="Alligator 1.0's own connection string: redis://host:6379/0 or sqlite:///old.db.",
)
@option(
    "--to",
    required=True,
    envvar="ALLIGATOR_CONN",
    metavar="DSN",
    help="Where the tasks go: postgresql://user@host/database, sqlite:///tasks.db, redis://host/0 "
    "or sqs://region/.",
)
@option(
    "--queue",
    "-q",
    "queues",
    multiple=True,
    default=[ALL],
    metavar="NAMES",
    help="Queues to move: mail,images. May be repeated.",
)
@option("--to-queue", metavar="NAME", help="Put them into this queue, not their own.")
@option("--dry-run", is_flag=True, help="Only say what would move; write nothing.")
@option(
    "--allow",
    multiple=True,
    envvar="ALLIGATOR_ALLOW",
    metavar="PATTERN",
    help="Move only functions like this: 'myapp.*'. May be repeated.",
)
@option("--batch", type=click.IntRange(min=1), default=BATCH, help="Tasks to move at a time.")
@parameters.prefix
@parameters.schema
def run(
    source: str,
    to: str,
    queues: tuple[str, ...],
    to_queue: str | None,
    dry_run: bool,
    allow: tuple[str, ...],
    batch: int,
    prefix: str | None,
    schema: str | None,
) -> None:
    """Move the waiting tasks of Alligator 1.0 here. Safe to repeat: each arrives once.

    Stop the old workers first. What cannot be moved stays where it is and is listed; the exit
    code is 1 then.
    """
    names = list(dict.fromkeys(names_in(",".join(queues), "--queue")))
    gator = Gator(to, allow=allow, prefix=prefix, schema=schema)
    _check_target(gator)
    with closing(gator), closing(open_store(source, read_only=dry_run)) as store:
        moves = [
            Move(store, gator, name, into=to_queue, batch=batch, dry_run=dry_run) for name in names
        ]
        totals = [store.len(name) for name in names]
        if not dry_run:
            gator.open()
        for move, total in zip(moves, totals, strict=True):
            _run(move, total, dry_run=dry_run)
    if any(move.left or move.lost for move in moves):
        sys.exit(1)


def _check_target(gator: Gator) -> None:
    able = gator.store.capabilities
    if not able.cross_process:
        raise Unsupported(
            f"The {gator.store.name} backend keeps tasks in one process: they would be gone at the "
            "end of this command."
        )
    if not able.find:
        _warn(
            f"The {gator.store.name} backend does not know what it has. If this is interrupted and "
            "run again, up to one batch of tasks is there twice; --batch 1 makes it one task."
        )


def _run(move: Move, total: int, *, dry_run: bool) -> None:
    try:
        with _progress() as progress:
            bar = progress.add_task(_shown(move.queue), total=total)
            for left in move.run():
                for one in left:
                    _report(move.queue, one)
                progress.update(bar, completed=move.seen, total=max(total, move.seen))
    finally:  # what has moved is said whatever went wrong then
        click.echo(_summary(move, total, dry_run=dry_run))
    if move.lost:
        _warn(
            f"{move.lost} tasks of {move.queue!r} were taken or changed by others while they were "
            "moved, and may run twice. Do old workers still run?"
        )


def _progress() -> "Progress":
    # The list of all commands, which imports this one, does without.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors(),
        disable=not errors().is_terminal,
    )


def _report(queue: str, left: Left) -> None:
    _print(f"Left in {queue!r}: {_shown(repr(left.task_id))}: {_shown(left.reason)}")


def _summary(move: Move, total: int, *, dry_run: bool) -> str:
    if not total and not move.seen:
        return f"{move.queue}: empty, or there is no such queue"
    text = f"{move.queue}: {move.moved} {'would move' if dry_run else 'moved'}"
    text += f" ({move.delayed} delayed)" if move.delayed else ""
    text += f", {move.known} were there already" if move.known else ""
    text += f", {move.left} {'would stay' if dry_run else 'left'}" if move.left else ""
    return text


def _warn(text: str) -> None:
    _print(f"Warning: {text}", style="yellow")


def _print(text: str, style: str | None = None) -> None:
    errors().print(one_line(text), style=style, markup=False, highlight=False, soft_wrap=True)


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."
