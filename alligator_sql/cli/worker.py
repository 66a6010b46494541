"""``alligator-sql worker``: run tasks."""

import atexit
import logging
import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..constants import ALL
from ..exceptions import AlligatorException, StoreUnavailableError
from ..gator import Gator
from ..lease import TTL
from ..workers import first_process
from ..workers.interpreter import command
from ..workers.lifeline import Lifeline, SupervisedWorker
from ..workers.supervisor import Supervisor
from ..workers.worker import GRACE
from .console import one_line
from .logging import set_up
from .parameters import PREFIX_HELP, Dsn, Schema

LONGEST_PAUSE = 2.0
"""Seconds between two attempts to reach a store that does not answer."""

logger = logging.getLogger("alligator_sql.worker")


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class Executor(StrEnum):
    """Where tasks run."""

    THREADS = "threads"
    PROCESSES = "processes"
    ASYNCIO = "asyncio"
    AUTO = "auto"


class LogFormat(StrEnum):
    """What a line of the log looks like."""

    TEXT = "text"
    JSON = "json"


def run(
    context: typer.Context,
    dsn: Dsn,
    queues: Annotated[
        str,
        typer.Option(
            "--queues", "-q", envvar="ALLIGATOR_QUEUES", help="Queues, in order: mail,images."
        ),
    ] = ALL,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", "-c", min=1, envvar="ALLIGATOR_CONCURRENCY", help="Tasks at a time."
        ),
    ] = 1,
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            "-p",
            min=0,
            envvar="ALLIGATOR_PROCESSES",
            help="Run so many worker processes and restart those that die; 0: be the only one.",
        ),
    ] = 0,
    executor: Annotated[
        Executor,
        typer.Option(
            "--executor",
            "-x",
            case_sensitive=False,
            envvar="ALLIGATOR_EXECUTOR",
            help="Where tasks run; auto: coroutines on an event loop, the rest on threads.",
        ),
    ] = Executor.THREADS,
    max_tasks_per_child: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="ALLIGATOR_MAX_TASKS_PER_CHILD",
            help="With -x processes: replace a child after so many tasks; 0: never.",
        ),
    ] = 0,
    max_memory_per_child: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="MIB",
            envvar="ALLIGATOR_MAX_MEMORY_PER_CHILD",
            help="With -x processes: replace a child that uses more MiB after a task; 0: never.",
        ),
    ] = 0,
    burst: Annotated[
        bool,
        typer.Option("--burst", envvar="ALLIGATOR_BURST", help="Stop when nothing is due."),
    ] = False,
    max_tasks: Annotated[
        int,
        typer.Option(
            min=0, envvar="ALLIGATOR_MAX_TASKS", help="Stop after so many tasks; 0: never."
        ),
    ] = 0,
    grace: Annotated[
        float,
        typer.Option(
            min=0, envvar="ALLIGATOR_GRACE", help="Seconds that running tasks get at a stop."
        ),
    ] = GRACE,
    lease: Annotated[
        float,
        typer.Option(
            min=0.3,
            envvar="ALLIGATOR_LEASE",
            help="Seconds after which others take the tasks of this worker, once it has died.",
        ),
    ] = TTL,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ALLIGATOR_ALLOW",
            metavar="PATTERN",
            help="Run only functions like this: 'myapp.*'. May be repeated.",
        ),
    ] = None,
    log_level: Annotated[
        Level,
        typer.Option(case_sensitive=False, envvar="ALLIGATOR_LOG_LEVEL", help="How much to log."),
    ] = Level.INFO,
    log_format: Annotated[
        LogFormat,
        typer.Option(case_sensitive=False, envvar="ALLIGATOR_LOG_FORMAT", help="How to log."),
    ] = LogFormat.TEXT,
    connect_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            envvar="ALLIGATOR_CONNECT_TIMEOUT",
            help="Seconds to wait for the store at the start.",
        ),
    ] = 30.0,
    prefix: Annotated[
        str | None,
        typer.Option(envvar="ALLIGATOR_PREFIX", show_default=False, help=PREFIX_HELP),
    ] = None,
    schema: Schema = None,
    listen_url: Annotated[
        str | None,
        typer.Option(
            envvar="ALLIGATOR_LISTEN_URL",
            metavar="DSN",
            show_default=False,
            help="Where to wait for notifications, when DSN leads through a transaction pooler.",
        ),
    ] = None,
) -> None:
    """Run tasks until SIGTERM or Ctrl-C; a second one does not wait for those that run."""
    names = [name.strip() for name in queues.split(",")]
    if not all(names):
        raise typer.BadParameter(f"an empty name in {queues!r}", param_hint="--queues")
    _check(processes, max_tasks, executor, max_tasks_per_child, max_memory_per_child)
    set_up(log_level, log_format.value)
    # As the first process of a container nothing ends this one but its own handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # After everything else: Python takes all handlers but this one down before it is gone itself.
    atexit.register(_ignore_signals)
    if not processes:
        first_process.step_aside()
    lifeline = Lifeline.inherited()
    sys.path.insert(0, str(Path.cwd()))
    try:
        worker = SupervisedWorker(
            Gator(
                dsn,
                names[0],
                allow=allow or (),
                prefix=prefix,
                schema=schema,
                listen_url=listen_url,
            ),
            max_tasks=max_tasks,
            to_consume=names,
            log_level=log_level.value,
            concurrency=concurrency,
            executor=executor.value,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child=max_memory_per_child,
            burst=burst,
            grace=grace,
            lease=lease,
        )
        if not processes:
            _connect(worker.gator, connect_timeout)
    except AlligatorException as error:
        logger.error("%s", one_line(str(error)))
        sys.exit(1)
    if processes:
        one = [*command("alligator_sql.cli"), "worker"]
        sys.exit(Supervisor(one, _environment(context), processes, grace, burst=burst).run())
    worker.lifeline = lifeline
    sys.exit(worker.run_forever())


def _check(
    processes: int,
    max_tasks: int,
    executor: Executor,
    max_tasks_per_child: int,
    max_memory_per_child: float,
) -> None:
    """Refuse options that do not go together."""
    if processes and max_tasks:
        raise typer.BadParameter(
            "each process of -p would count its own tasks; leave out one of the two.",
            param_hint="--max-tasks",
        )
    for option, value in (
        ("--max-tasks-per-child", max_tasks_per_child),
        ("--max-memory-per-child", max_memory_per_child),
    ):
        if value and executor is not Executor.PROCESSES:
            raise typer.BadParameter(
                f"-x {executor.value} has no child processes; it is for -x processes.",
                param_hint=option,
            )


def _ignore_signals() -> None:
    """Keep a signal that comes when all is done from looking like a death."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _environment(context: typer.Context) -> dict[str, str]:
    """Return the environment in which a worker has the options that were given to this one.

    Command lines can be read by everybody, and a DSN may hold a password.
    """
    environment = dict(os.environ)
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if not isinstance(parameter.envvar, str) or value is None:
            continue
        environment[parameter.envvar] = (
            " ".join(value) if isinstance(value, list | tuple) else str(value)
        )
    return environment | {"ALLIGATOR_PROCESSES": "0"}


def _connect(gator: Gator, patience: float) -> None:
    """Open the store, and wait up to ``patience`` seconds until it answers."""
    deadline = time.monotonic() + patience
    pause = 0.1
    told = False
    while True:
        try:
            gator.open()
            return
        except StoreUnavailableError as error:
            rest = deadline - time.monotonic()
            if rest <= 0:
                raise StoreUnavailableError(f"Gave up after {patience:g} s: {error}") from error
            if not told:
                logger.warning("waiting up to %g s: %s", patience, one_line(str(error)))
                told = True
        time.sleep(min(pause, rest))
        pause = min(2 * pause, LONGEST_PAUSE)
