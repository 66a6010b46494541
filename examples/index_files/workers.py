"""The worker processes: started by the command that everybody uses, killed and stopped."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from alligator_sql.gator import CONN_VARIABLE

from .files import QUEUES
from .interrupts import held_back
from .tasks import DOCUMENTS_VARIABLE

REPOSITORY: Final = Path(__file__).parents[2]
LEASE: Final = 3.0
"""Seconds after which the tasks of a dead worker are taken back. The default is 30."""
PATIENCE: Final = 2.0
"""Seconds that a worker gets for each way of being asked to stop."""


class Workers:
    """Worker processes; those that still run are stopped at the end of the ``with`` block.

    Args:
        dsn: Where the tasks are.
        documents: The database that the documents are in.
        concurrency: How many tasks each process runs at a time.
        log: The file for what they log.
    """

    def __init__(self, dsn: str, documents: str, concurrency: int, log: BinaryIO) -> None:
        self._command = [
            sys.executable, "-m", "alligator_sql.cli", "worker",
            "--queues", ",".join(QUEUES),
            "--concurrency", str(concurrency),
            "--lease", str(LEASE),
        ]  # fmt: skip
        self._environment = {
            # Settings of the caller's own workers must not reach these ones.
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ALLIGATOR_")
        }
        # In the environment, because every user of the machine can read arguments with `ps`.
        self._environment |= {CONN_VARIABLE: dsn, DOCUMENTS_VARIABLE: documents}
        path = (str(REPOSITORY), self._environment.get("PYTHONPATH"))
        self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with held_back():
            self._stop()

    def start(self, count: int) -> list[int]:
        """Start processes and return their ids."""
        with held_back():
            for _ in range(count):
                # In a session of its own, a Ctrl-C at the terminal does not reach it: the
                # demo decides when it stops.
                process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,
                )
                self._running[process.pid] = process
        return list(self._running)

    def __contains__(self, pid: int) -> bool:
        return pid in self._running

    def kill(self, pid: int) -> None:
        """End a process as a power cut does: it cannot do anything about it."""
        process = self._running.pop(pid)
        process.kill()
        process.wait()

    def ended(self) -> list[int]:
        """Return the ids of processes that have ended though nobody asked them to."""
        return [pid for pid, process in self._running.items() if process.poll() is not None]

    def log(self, lines: int = 20) -> str:
        """Return the end of what the processes have logged."""
        self._log.seek(0)
        return b"".join(self._log.readlines()[-lines:]).decode(errors="replace")

    def _stop(self) -> None:
        """Ask all to stop; when that takes long, ask not to wait for what runs; then kill."""
        for ask in (subprocess.Popen.terminate, subprocess.Popen.terminate, subprocess.Popen.kill):
            for process in self._running.values():
                ask(process)
            for process in self._running.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
