"""``alligator-sql worker``: run tasks."""

import sys
from typing import get_args

import click

from ..constants import ALL
from ..lease import TTL
from ..workers.interpreter import command
from ..workers.supervisor import Supervisor
from ..workers.worker import EXECUTORS, GRACE
from . import parameters, worker_process
from .logging import LEVELS, Format
from .parameters import Number, names_in, option
from .worker_process import Options


@click.command("worker")
@parameters.dsn
@option(
    "--queues",
    "-q",
    default=ALL,
    envvar="ALLIGATOR_QUEUES",
    help="Queues, in order: mail,images.",
)
@option(
    "--concurrency",
    "-c",
    type=click.IntRange(min=1),
    default=1,
    envvar="ALLIGATOR_CONCURRENCY",
    help="Tasks at a time.",
)
@option(
    "--processes",
    "-p",
    type=click.IntRange(min=0),
    default=0,
    envvar="ALLIGATOR_PROCESSES",
    help="Run so many worker processes and restart those that die; 0: be the only one.",
)
@option(
    "--executor",
    "-x",
    type=click.Choice(EXECUTORS, case_sensitive=False),
    default="threads",
    envvar="ALLIGATOR_EXECUTOR",
    help="Where tasks run; auto: coroutines on an event loop, the rest on threads.",
)
@option(
    "--max-tasks-per-child",
    type=click.IntRange(min=0),
    default=0,
    envvar="ALLIGATOR_MAX_TASKS_PER_CHILD",
    help="With -x processes: replace a child after so many tasks; 0: never.",
)
@option(
    "--max-memory-per-child",
    type=Number(min=0),
    default=0,
    envvar="ALLIGATOR_MAX_MEMORY_PER_CHILD",
    metavar="MIB",
    help="With -x processes: replace a child that uses more MiB after a task; 0: never.",
)
@option("--burst", is_flag=True, envvar="ALLIGATOR_BURST", help="Stop when nothing is due.")
@option(
    "--max-tasks",
    type=click.IntRange(min=0),
    default=0,
    envvar="ALLIGATOR_MAX_TASKS",
    help="Stop after so many tasks; 0: never.",
)
@option(
    "--grace",
    type=Number(min=0),
    default=GRACE,
    envvar="ALLIGATOR_GRACE",
    help="Seconds that running tasks get at a stop.",
)
@option(
    "--lease",
    type=Number(min=0.3),
    default=TTL,
    envvar="ALLIGATOR_LEASE",
    help="Seconds after which others take the tasks of this worker, once it has died.",
)
@option(
    "--allow",
    multiple=True,
    envvar="ALLIGATOR_ALLOW",
    metavar="PATTERN",
    help="Run only functions like this: 'myapp.*'. May be repeated.",
)
@option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="INFO",
    envvar="ALLIGATOR_LOG_LEVEL",
    help="How much to log.",
)
@option(
    "--log-format",
    type=click.Choice(get_args(Format), case_sensitive=False),
    default="text",
    envvar="ALLIGATOR_LOG_FORMAT",
    help="How to log.",
)
@option(
    "--connect-timeout",
    type=Number(min=0),
    default=30.0,
    envvar="ALLIGATOR_CONNECT_TIMEOUT",
    help="Seconds to wait for the store at the start.",
)
@parameters.prefix
@parameters.schema
@option(
    "--listen-url",
    envvar="ALLIGATOR_LISTEN_URL",
    metavar="DSN",
    help="Where to wait for notifications, when DSN leads through a transaction pooler.",
)
def run(
    dsn: str,
    queues: str,
    concurrency: int,
    processes: int,
    executor: str,
    max_tasks_per_child: int,
    max_memory_per_child: float,
    burst: bool,
    max_tasks: int,
    grace: float,
    lease: float,
    allow: tuple[str, ...],
    log_level: str,
    log_format: Format,
    connect_timeout: float,
    prefix: str | None,
    schema: str | None,
    listen_url: str | None,
) -> None:
    """Run tasks until SIGTERM or Ctrl-C. A second one does not wait for those that run."""
    names = names_in(queues, "--queues")
    _check(processes, max_tasks, executor, max_tasks_per_child, max_memory_per_child)
    options = Options(
        gator={
            "conn_string": dsn,
            "queue_name": names[0],
            "allow": allow,
            "prefix": prefix,
            "schema": schema,
            "listen_url": listen_url,
        },
        worker={
            "max_tasks": max_tasks,
            "to_consume": names,
            "log_level": log_level,
            "concurrency": concurrency,
            "executor": executor,
            "max_tasks_per_child": max_tasks_per_child,
            "max_memory_per_child": max_memory_per_child,
            "burst": burst,
            "grace": grace,
            "lease": lease,
        },
        connect_timeout=connect_timeout,
        log_level=log_level,
        log_format=log_format,
    )
    worker_process.begin(options)
    if not processes:
        sys.exit(worker_process.run(options))
    one = command(worker_process.__name__)
    sys.exit(Supervisor(one, options.environment(), processes, grace, burst=burst).run())


def _check(
    processes: int,
    max_tasks: int,
    executor: str,
    max_tasks_per_child: int,
    max_memory_per_child: float,
) -> None:
    """Refuse options that do not go together."""
    if processes and max_tasks:
        raise click.BadParameter(
            "each process of -p would count its own tasks; leave out one of the two.",
            param_hint="--max-tasks",
        )
    for name, value in (
        ("--max-tasks-per-child", max_tasks_per_child),
        ("--max-memory-per-child", max_memory_per_child),
    ):
        if value and executor != "processes":
            raise click.BadParameter(
                f"-x {executor} has no child processes; it is for -x processes.",
                param_hint=name,
            )
