"""``python -m examples.index_files``: read the arguments and run the demo."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from rich.console import Console
from rich.markup import escape

from alligator_sql.backends import scheme_of
from alligator_sql.exceptions import AlligatorException
from alligator_sql.gator import CONN_VARIABLE
from alligator_sql.redaction import hide_password

from .demo import Demo, DemoError
from .files import find
from .server import temporary_postgresql

REPOSITORY = Path(__file__).parents[2]
IN_SQL = ("postgresql", "sqlite")
ELSEWHERE = ("redis", "rediss", "unix", "sqs")
"""The stores that cannot hold the documents too: those are in SQLite then."""


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
            console.print(f"Using {escape(hide_password(options.dsn))}.")
        documents = options.dsn
        if scheme_of(options.dsn) in ELSEWHERE:
            place = stack.enter_context(TemporaryDirectory(prefix="demo-"))
            documents = f"sqlite:///{place}/documents.db"
        demo = Demo(
            console,
            options.dsn,
            documents,
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
        help="postgresql://user@host/database or sqlite:///demo.db, to keep and look at, "
        "redis://host:6379/0 or sqs://us-west-2/ for the tasks alone, or 'env' for what "
        f"${CONN_VARIABLE} holds; default: a PostgreSQL that goes when the demo ends",
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
    if options.dsn is not None and scheme_of(options.dsn) not in (*IN_SQL, *ELSEWHERE):
        parser.error(
            "--dsn: give postgresql://user@host/database, sqlite:///demo.db, redis://host:6379/0 "
            "or sqs://us-west-2/"
        )
    options.folder = options.folder.resolve()
    return options


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
