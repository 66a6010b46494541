"""The tasks of the tests, importable by every worker."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any


def add(a: float, b: float) -> float:
    return a + b


def echo(value: Any = None) -> Any:
    return value


def append(path: str, line: str) -> None:
    """Add one line to a file, whole even when many processes do."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def append_slowly(path: str, line: str) -> None:
    append(path, line)
    time.sleep(0.01)


def append_pid(path: str) -> None:
    append(path, str(os.getpid()))


async def append_later(path: str, line: str) -> None:
    await asyncio.sleep(0)
    append(path, line)


def fail(message: str = "no luck") -> None:
    raise ValueError(message)


def fail_with_odd_text() -> None:
    raise RuntimeError("NUL \x00 and a lone surrogate \ud800")


def large(characters: int) -> str:
    return "x" * characters


def not_json() -> object:
    return object()


def wait_for_file(started: str, until: str, line: str = "") -> None:
    """Say in the file ``started`` that this runs, and end once the file ``until`` exists."""
    append(started, line or str(os.getpid()))
    for _ in range(60_000):
        if Path(until).exists():
            return
        time.sleep(0.01)


def kill_worker(started: str) -> None:
    """Take the worker down, as the kernel does when memory runs out."""
    append(started, str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


class _LastWord:
    """Sends a signal to its own process when Python takes its modules down."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self, kill: Any = os.kill, getpid: Any = os.getpid) -> None:
        kill(getpid(), self._number)


_last_words: list[_LastWord] = []


def signal_at_the_end(number: int) -> None:
    """Have a signal come after the worker has done all that it does."""
    _last_words.append(_LastWord(number))
