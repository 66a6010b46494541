"""Tasks that die, hang, hoard and wait: what an executor has to cope with."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from alligator_sql import current_task

from .tasks import append

hoard: list[bytes] = []


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def kill_itself() -> None:
    """Die as by the kernel when memory has run out."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def log_and_fail(word: str) -> None:
    logging.getLogger(__name__).warning("here is %s", word)
    raise ValueError(word)


def tell_about_itself(notes: str, until: str) -> None:
    task = current_task()
    remaining = task.remaining or 0
    for fact in (task.id, task.attempt, 200 < remaining <= 300, task.should_stop):
        append(notes, str(fact))
    task.progress(25, "a quarter")
    while not Path(until).exists():
        time.sleep(0.01)


def fork_and_die(pids: str) -> None:
    """Leave a process behind that holds all that this one has open."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    append(pids, str(pid))
    kill_itself()


def fork_and_return(ran: str) -> None:
    """Return twice: the fork does not end."""
    pid = os.fork()
    append(ran, str(os.getpid()))
    if pid:
        os.waitpid(pid, 0)


def start_and_hang(pids: str) -> None:
    """Wait for a process of its own, in C."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    append(pids, str(process.pid))
    append(pids, str(os.getpid()))
    time.sleep(600)


def leave_an_orphan(ended: str) -> None:
    """Let a process outlive the one that has started it, for a moment."""
    subprocess.run(["sh", "-c", f"(sleep 0.1; echo ended >> {ended}) &"], check=True)


def hold_memory(mebibytes: int, pids: str) -> None:
    hoard.append(b"x" * (mebibytes << 20))
    append(pids, str(os.getpid()))


def hold_the_interpreter(started: str) -> None:
    """Compute in C, and let no other thread run Python code meanwhile."""
    append(started, str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def note_interruption(notes: str) -> None:
    """Run in Python until something is raised here, and note what it was."""
    try:
        while True:
            time.sleep(0.01)
    except BaseException as error:
        append(notes, type(error).__name__)
        append(notes, type(current_task().interruption).__name__)
        raise


async def note_cancellation(notes: str) -> None:
    """Do the same in a coroutine."""
    try:
        await asyncio.sleep(600)
    except BaseException as error:
        append(notes, type(error).__name__)
        append(notes, type(current_task().interruption).__name__)
        raise


def ignore_everything(started: str, until: str) -> None:
    """Swallow whatever is raised here, until the file ``until`` exists."""
    append(started, str(os.getpid()))
    while True:
        try:
            while not Path(until).exists():
                time.sleep(0.01)
            return
        except BaseException:
            continue


def wait_and_note(started: str, until: str, notes: str) -> None:
    """Note whether it was to stop before the file ``until`` existed."""
    append(started, str(os.getpid()))
    while not Path(until).exists():
        time.sleep(0.01)
    append(notes, str(current_task().should_stop))


def tell_and_stay(started: str, told: str) -> None:
    """Note that it is to stop, and run on."""
    append(started, str(os.getpid()))
    current_task().wait(600)
    append(told, type(current_task().interruption).__name__)
    time.sleep(600)


async def wait_for_file_later(started: str, until: str, line: str) -> None:
    append(started, line)
    waiting = Path(until)
    while not waiting.exists():  # noqa: ASYNC110, ASYNC240 - the test is another process
        await asyncio.sleep(0.01)


async def sleep_later(seconds: float) -> None:
    await asyncio.sleep(seconds)
