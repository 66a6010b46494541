"""Processes that take part in a measurement."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

PATIENCE = 100.0
"""Seconds after which a process that should be done is broken."""
CHECKOUT = Path(__file__).parents[1]

Role = Callable[[str, Callable[[], None]], None]
"""What a process does at a database; calls the function to wait for the common start."""


def run(role: Role, dsn: str, number: int) -> None:
    """Play ``role`` in ``number`` processes that start together, until all of them have ended.

    Raises:
        RuntimeError: One of them failed, or did not end.
    """
    context = multiprocessing.get_context("spawn")
    team = []
    for _ in range(number):
        ours, theirs = context.Pipe()
        process = context.Process(target=_play, args=(role, dsn, theirs), daemon=True)
        process.start()
        theirs.close()
        team.append((process, ours))
    try:
        for process, pipe in team:
            if not pipe.poll(PATIENCE):
                raise RuntimeError(f"{process.name} did not get ready")
            pipe.recv()
        for _, pipe in team:
            pipe.send("start")
        for process, _ in team:
            process.join(PATIENCE)
            if process.exitcode != 0:
                raise RuntimeError(f"{process.name} ended with {process.exitcode}")
    finally:
        for process, _ in team:
            process.kill()


def _play(role: Role, dsn: str, pipe: Connection) -> None:
    def wait_for_start() -> None:
        pipe.send("ready")
        pipe.recv()

    role(dsn, wait_for_start)


@contextmanager
def background(
    command: Sequence[str], *, piped: bool = False
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``command`` during the block, which gets the process.

    Args:
        command: The program and its arguments.
        piped: Whether the block talks to it by its standard streams.

    Raises:
        RuntimeError: It ended by itself, or not at all.
    """
    pipe = subprocess.PIPE if piped else None
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe) as process:
        try:
            yield process
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            process.terminate()
            process.wait(PATIENCE)
        finally:
            process.kill()


def python(*arguments: str) -> list[str]:
    """Return the command that runs our Python with ``arguments``."""
    return [sys.executable, *arguments]


def worker(dsn: str) -> list[str]:
    """Return the command that runs ``alligator-sql worker`` as users do."""
    return python("-m", "alligator_sql.cli", "worker", dsn, "--log-level", "WARNING")


def wait_until(
    condition: Callable[[], bool], what: str, progress: Callable[[], object] = lambda: None
) -> None:
    """Wait until ``condition`` holds, as long as ``progress`` returns something new now and then.

    Raises:
        RuntimeError: It did not come to hold.
    """
    last, deadline = progress(), time.monotonic() + PATIENCE
    while not condition():
        if (now := progress()) != last:
            last, deadline = now, time.monotonic() + PATIENCE
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.005)
