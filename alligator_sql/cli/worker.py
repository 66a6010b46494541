"""``alligator-sql worker``: run tasks."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from ..constants import ALL
from ..lease import TTL
from ..workers.interpreter import command
from ..workers.supervisor import Supervisor
from ..workers.worker import GRACE
from . import worker_process
from .parameters import PREFIX_HELP, Dsn, Schema
from .worker_process import Options


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
    options = Options(
        gator={
            "conn_string": dsn,
            "queue_name": names[0],
            "allow": allow or (),
            "prefix": prefix,
            "schema": schema,
            "listen_url": listen_url,
        },
        worker={
            "max_tasks": max_tasks,
            "to_consume": names,
            "log_level": log_level.value,
            "concurrency": concurrency,
            "executor": executor.value,
            "max_tasks_per_child": max_tasks_per_child,
            "max_memory_per_child": max_memory_per_child,
            "burst": burst,
            "grace": grace,
            "lease": lease,
        },
        connect_timeout=connect_timeout,
        log_level=log_level.value,
        log_format=log_format.value,
    )
    worker_process.begin(options)
    if not processes:
        sys.exit(worker_process.run(options))
    one = command(worker_process.__name__)
    sys.exit(Supervisor(one, options.environment(), processes, grace, burst=burst).run())


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
