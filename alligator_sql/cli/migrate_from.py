"""``alligator-sql migrate-from``: the tasks of Alligator 1.0."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ..constants import ALL
from ..exceptions import Unsupported
from ..gator import Gator
from ..legacy_stores import Left, Move, open_store
from ..legacy_stores.move import BATCH
from .console import errors, one_line
from .parameters import PREFIX_HELP, Schema

if TYPE_CHECKING:
    from rich.progress import Progress

LONGEST_LINE = 300
"""Characters that are shown of an id or a reason: what is stored may be of any length."""


def run(
    source: Annotated[
        str,
        typer.Argument(
            envvar="ALLIGATOR_FROM",
            metavar="DSN",
            show_default=False,
            help="Alligator 1.0's own connection string: redis://host:6379/0 or sqlite:///old.db.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            envvar="ALLIGATOR_CONN",
            metavar="DSN",
            show_default=False,
            help="Where the tasks go: postgresql://user@host/database, sqlite:///tasks.db, "
            "redis://host/0 or sqs://region/.",
        ),
    ],
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            metavar="NAMES",
            show_default=ALL,
            help="Queues to move: mail,images. May be repeated.",
        ),
    ] = None,
    to_queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Put them into this queue, not their own."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would move; write nothing.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ALLIGATOR_ALLOW",
            metavar="PATTERN",
            help="Move only functions like this: 'myapp.*'. May be repeated.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Tasks to move at a time.")] = BATCH,
    prefix: Annotated[
        str | None,
        typer.Option(envvar="ALLIGATOR_PREFIX", show_default=False, help=PREFIX_HELP),
    ] = None,
    schema: Schema = None,
) -> None:
    """Move the waiting tasks of Alligator 1.0 here. Safe to repeat: each arrives once.

    Stop the old workers first. What cannot be moved stays where it is and is listed; the exit
    code is 1 then.
    """
    queues = _names(queue or [ALL])
    gator = Gator(to, allow=allow or (), prefix=prefix, schema=schema)
    _check_target(gator)
    with closing(gator), closing(open_store(source, read_only=dry_run)) as store:
        moves = [
            Move(store, gator, name, into=to_queue, batch=batch, dry_run=dry_run) for name in queues
        ]
        totals = [store.len(name) for name in queues]
        if not dry_run:
            gator.open()
        for move, total in zip(moves, totals, strict=True):
            _run(move, total, dry_run=dry_run)
    if any(move.left or move.lost for move in moves):
        raise typer.Exit(1)


def _names(given: list[str]) -> list[str]:
    names = [name.strip() for text in given for name in text.split(",")]
    if not all(names):
        raise typer.BadParameter(f"an empty name in {','.join(given)!r}", param_hint="--queue")
    return list(dict.fromkeys(names))


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
        typer.echo(_summary(move, total, dry_run=dry_run))
    if move.lost:
        _warn(
            f"{move.lost} tasks of {move.queue!r} were taken or changed by others while they were "
            "moved, and may run twice. Do old workers still run?"
        )


def _progress() -> "Progress":
    # A worker, which is another command, does without.
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
