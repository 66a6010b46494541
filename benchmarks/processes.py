"""Processes that take part in a measurement."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

from alligator_sql import ALL, Gator, Worker
from alligator_sql.messages import WorkerRecord

from . import raw

PATIENCE = 120.0
"""Seconds after which a process that should have ended is a failure."""
RAW_BATCH = 100
"""Tasks that the raw driver claims and acknowledges at a time."""
CHECKOUT = Path(__file__).parents[1]

Role = Callable[[str, Connection], None]
"""What a process does with a connection string; sends when it is ready, waits for the start."""


def drain(dsn: str, pipe: Connection) -> None:
    """Be a worker until the queue is empty."""
    gator = Gator(dsn)
    worker = Worker(gator, burst=True)
    gator.open()
    _wait_for_start(pipe)
    worker.run_forever()


def drain_on_threads(dsn: str, pipe: Connection) -> None:
    """Be a worker with as many threads as the command line gives it, until the queue is empty."""
    gator = Gator(dsn)
    worker = Worker(gator, burst=True, concurrency=8)
    gator.open()
    _wait_for_start(pipe)
    worker.run_forever()


def drain_raw(dsn: str, pipe: Connection) -> None:
    """Claim and acknowledge until the queue is empty, without running anything."""
    connection = raw.connect(dsn)
    store = Gator(dsn).store
    worker = WorkerRecord(uuid4(), "raw", 0, (ALL,), 3600.0)
    store.heartbeat(worker, first=True)
    _wait_for_start(pipe)
    claims = []
    while True:
        with connection.transaction():
            if claims:
                connection.end(worker.id, claims)
            claims = connection.claim(ALL, RAW_BATCH, worker.id)
        if not claims:
            break
    store.leave(worker.id, holds=False)


def _wait_for_start(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()


def run(role: Role, dsn: str, number: int) -> None:
    """Run ``role`` in ``number`` processes that start at the same time, until all have ended.

    Raises:
        RuntimeError: One of them failed, or did not end.
    """
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(number)]
    team = [context.Process(target=role, args=(dsn, theirs), daemon=True) for _, theirs in pairs]
    for process in team:
        process.start()
    try:
        for (ours, _), process in zip(pairs, team, strict=True):
            if not ours.poll(PATIENCE):
                raise RuntimeError(f"{process.name} does not get ready")
            ours.recv()
        for ours, _ in pairs:
            ours.send("go")
        for process in team:
            process.join(PATIENCE)
            if process.exitcode != 0:
                raise RuntimeError(f"{process.name} ended with {process.exitcode}")
    finally:
        for process in team:
            process.kill()


@contextmanager
def worker_command(dsn: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``alligator-sql worker`` in the block, as a user does, and stop it.

    Raises:
        RuntimeError: It does not stop, or not well.
    """
    command = [sys.executable, "-m", "alligator_sql.cli", "worker", dsn, "--log-level", "WARNING"]
    process = subprocess.Popen(command, cwd=CHECKOUT)
    try:
        yield process
        process.terminate()
        if process.wait(PATIENCE) != 0:
            raise RuntimeError(f"the worker ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until ``condition`` holds.

    Raises:
        RuntimeError: It never did.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {patience:g} s for {what}")
        time.sleep(0.001)
