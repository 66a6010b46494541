"""``python -m alligator_sql.cli.worker_process``: a worker whose supervisor has read the options.

The options come in the environment: command lines can be read by everybody, and a DSN may hold
a password. What reads command lines stays in the supervisor, and out of the memory of each worker.
"""

import atexit
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ..exceptions import AlligatorException, StoreUnavailableError
from ..gator import Gator
from ..workers import first_process
from ..workers.interpreter import collect_rarely
from ..workers.lifeline import Lifeline, SupervisedWorker
from .console import one_line
from .logging import Format, set_up

VARIABLE = "ALLIGATOR_WORKER"
"""The environment variable with the options; only supervisors set it."""
LONGEST_PAUSE = 2.0
"""Seconds between two attempts to reach a store that does not answer."""

logger = logging.getLogger("alligator_sql.worker")


@dataclass(frozen=True, slots=True)
class Options:
    """What a worker process is told.

    ``gator`` and ``worker`` are the arguments of the two, ``connect_timeout`` the seconds to
    wait for the store at the start.
    """

    gator: Mapping[str, Any]
    worker: Mapping[str, Any]
    connect_timeout: float
    log_level: str
    log_format: Format

    @classmethod
    def inherited(cls) -> Self:
        """Return the options that the supervisor of this process has set."""
        return cls(**json.loads(os.environ.pop(VARIABLE)))

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that :meth:`inherited` reads them in."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}


def main() -> None:
    """Run the worker that the environment describes."""
    options = Options.inherited()
    begin(options)
    sys.exit(run(options))


def begin(options: Options) -> None:
    """Set up the log of this process, and what it does when it is told to stop."""
    set_up(options.log_level, options.log_format)
    # As the first process of a container nothing ends this one but its own handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # After everything else: Python takes all handlers but this one down before it is gone itself.
    atexit.register(_ignore_signals)


def run(options: Options) -> int:
    """Run a worker until it is told to stop, and return the exit code."""
    first_process.step_aside()
    lifeline = Lifeline.inherited()
    sys.path.insert(0, str(Path.cwd()))
    try:
        worker = SupervisedWorker(Gator(**options.gator), **options.worker)
        _connect(worker.gator, options.connect_timeout)
    except AlligatorException as error:
        logger.error("%s", one_line(str(error)))
        return 1
    worker.lifeline = lifeline
    collect_rarely()
    return worker.run_forever()


def _ignore_signals() -> None:
    """Keep a signal that comes when all is done from looking like a death."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


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


if __name__ == "__main__":
    main()
