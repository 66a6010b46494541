"""What the measured tasks call, in every contender."""

import asyncio
import time
from pathlib import Path
from typing import Any

from .meter import Meter

SUBJECT = "hello"
"""The text that a small task carries."""
SPIN_SECONDS = 0.001
THREAD_SECONDS = 0.005
COROUTINE_SECONDS = 0.1
meter: Meter | None = None
"""Counts the calls of ``deliver`` in this process; a worker sets it."""


def deliver(message: dict[str, Any]) -> None:  # noqa: ARG001
    """Do nothing but count: everything around it is what is measured."""
    if meter is not None:
        meter.count()


def spin(message: dict[str, Any]) -> None:
    """Count, and be busy."""
    end = time.perf_counter() + SPIN_SECONDS
    deliver(message)
    while time.perf_counter() < end:
        pass


def rest(message: dict[str, Any]) -> None:
    """Count, and wait in the thread."""
    deliver(message)
    time.sleep(THREAD_SECONDS)


async def arest(message: dict[str, Any]) -> None:
    """Count, and wait in the event loop."""
    deliver(message)
    await asyncio.sleep(COROUTINE_SECONDS)


def note_start(path: str, number: int) -> None:
    """Append the time at which task ``number`` started to the file ``path``."""
    started = time.time()
    with Path(path).open("a") as file:
        file.write(f"{number} {started!r}\n")


def starts(path: str) -> dict[int, float]:
    """Return what ``note_start`` wrote; a line that is being written is left out."""
    lines = Path(path).read_text().splitlines(keepends=True)
    pairs = (line.split() for line in lines if line.endswith("\n"))
    return {int(each): float(at) for each, at in pairs}


def mail(number: int, subject: str = SUBJECT) -> dict[str, Any]:
    """Return the argument of one ``deliver`` task."""
    return {"i": number, "to": "someone@example.com", "subject": subject}
