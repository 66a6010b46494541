"""``python -m examples.index_files``: read the arguments and run the demo."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from alligator_sql.exceptions import AlligatorException
from alligator_sql.gator import CONN_VARIABLE

from .demo import Demo, DemoError
from .files import find
from .server import temporary_postgresql

REPOSITORY = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 1 when anything was lost."""
    options = _parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(options, console)
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted.[/] Workers and temporary files are gone.")
        return 130
    except (AlligatorException, DemoError) as error:
        console.print(f"[red]Error:[/] {escape(str(error))}")
        return 1


def _run(options: argparse.Namespace, console: Console) -> int:
    # Before there is a database: a SQLite file inside of the folder would change all the time.
    files = find(options.folder)
    if not files:
        raise DemoError(f"There is no file to index in {options.folder}.")
    with ExitStack() as stack:
        if options.dsn is None:
            options.dsn = stack.enter_context(temporary_postgresql(console))
        else:
            url = make_url(options.dsn).render_as_string(hide_password=True)
            console.print(f"Using the database {escape(url)}.")
        demo = Demo(
            console,
            options.dsn,
            options.folder,
            files,
            workers=options.workers,
            concurrency=options.concurrency,
            kill=options.kill,
        )
        return 0 if demo.run() else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.index_files",
        description="Index the files of a folder with worker processes, kill one of them half "
        "way, and check that nothing was lost.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=REPOSITORY, help="default: this repository"
    )
    parser.add_argument(
        "--dsn",
        help="postgresql://user@host/database or sqlite:///demo.db, to keep and look at, or 'env' "
        f"for what ${CONN_VARIABLE} holds; default: a PostgreSQL that goes when the demo ends",
    )
    parser.add_argument("--workers", type=int, default=2, help="worker processes (%(default)s)")
    parser.add_argument(
        "--concurrency", type=int, default=4, help="tasks at a time in each (%(default)s)"
    )
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="let all workers live")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is no folder")
    if options.workers < 1 or options.concurrency < 1:
        parser.error("there must be at least one worker and one task at a time")
    if options.kill and options.workers < 2:
        parser.error("to kill a worker takes a second one: --workers 2, or --no-kill")
    if options.dsn == "env":
        options.dsn = os.environ.get(CONN_VARIABLE, "")
    if options.dsn is not None and not _is_sql(options.dsn):
        parser.error("--dsn: give postgresql://user@host/database or sqlite:///demo.db")
    options.folder = options.folder.resolve()
    return options


def _is_sql(dsn: str) -> bool:
    try:
        return make_url(dsn).get_backend_name() in ("postgresql", "sqlite")
    except ArgumentError:
        return False


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
