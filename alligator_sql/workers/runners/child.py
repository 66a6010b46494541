"""A child process of a worker: runs one task after the other, until its parent is gone.

Started as ``python -m alligator_sql.workers.runners.child FD`` with a socket to the parent.
"""

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from ...completion import completion_of
from ...context import Store, TaskContext
from ...execution import attempt, fallback, load
from ...gator import Gator
from ...messages import Claim
from ...outcomes import Outcome
from ...tasks import Task
from .wire import Channel, Words, dump_outcome, dump_payload, load_claim

PR_SET_PDEATHSIG = 1
"""What Linux calls the signal at the death of the parent."""


class ChildContext(TaskContext):
    """The context of a task in a child process. The parent keeps the time and kills."""

    def __init__(self, claim: Claim, store: Store | None, channel: Channel, reports: bool) -> None:
        super().__init__(claim, store, reports=reports)
        self._channel = channel

    def begin(self, task_id: str, timeout: float | None) -> None:
        """Note the id of the task; its deadline was set by what the parent has been told."""
        super().begin(task_id, None)
        if timeout is not None:
            self.deadline = self._started + timeout

    def progress(self, percent: float, message: str = "") -> None:
        """Tell the parent how far the task has come."""
        super().progress(percent, message)
        if self.said is not None:
            self._channel.send({"progress": [self.said.percent, self.said.message]})


class ForwardingHandler(logging.Handler):
    """Sends what is logged here to the parent, which has the handlers of the application."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, with its traceback as text."""
        try:
            text = None
            if record.exc_info:
                text = logging.Formatter().formatException(record.exc_info)
            self._channel.send(
                {
                    "log": {
                        "name": record.name,
                        "levelno": record.levelno,
                        "levelname": record.levelname,
                        "msg": record.getMessage(),
                        "exc_text": text,
                        "created": record.created,
                        "process": record.process,
                        "threadName": record.threadName,
                    }
                }
            )
        except Exception:  # as every handler does
            self.handleError(record)


class Child:
    """Runs what the parent sends.

    Args:
        channel: The way to the parent.
        settings: What the parent said first.
    """

    def __init__(self, channel: Channel, settings: Words) -> None:
        self._channel = channel
        module, _, name = settings["task_class"].partition(":")
        task_class: Any = import_module(module)
        for part in name.split("."):
            task_class = getattr(task_class, part)
        self._task_class: type[Task] = task_class
        self._gator = Gator(
            settings["conn_string"], task_class=self._task_class, **settings["options"]
        )
        self._completion = completion_of(self._gator.store)

    def run(self, claim: Claim) -> Outcome:
        """Run one task, after telling the parent what to do should this be the end."""
        policy = self._gator.policy
        with policy.active():
            task = load(claim, self._task_class)
            if not isinstance(task, Task):
                return task
            last_will = fallback(claim, self._task_class, policy) if task.retries else None
            self._channel.send(
                {
                    "started": task.timeout,
                    "retry": last_will and [last_will[0], dump_payload(last_will[1])],
                }
            )
            reports = self._gator.store.capabilities.progress
            context = ChildContext(claim, self._completion, self._channel, reports)
            return attempt(task, claim.attempts - claim.crashes, context)


def main(descriptor: int) -> None:
    """Serve the parent at the other end of ``descriptor``."""
    # The parent decides, and gets the same signal: from a terminal, or from systemd, which sends
    # it to all. A handler and not SIG_IGN, which what a task starts would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_parent)
    _die_with_the_parent()
    channel = Channel(socket.socket(fileno=descriptor))
    settings = channel.receive()
    if settings is None:
        return
    sys.path[:] = settings["path"]
    logging.basicConfig(
        level=settings["log_level"], handlers=[ForwardingHandler(channel)], force=True
    )
    child = Child(channel, settings)
    channel.send({"ready": True})
    claims: SimpleQueue[Claim] = SimpleQueue()
    threading.Thread(target=_receive, args=(channel, claims), daemon=True).start()
    own = os.getpid()
    while True:
        outcome = child.run(claims.get())
        if os.getpid() != own:  # a fork that the task has made, and not ended
            os._exit(0)
        channel.send({"outcome": dump_outcome(outcome), "memory": memory()})


def _leave_it_to_the_parent(_number: int, _frame: FrameType | None) -> None:
    pass


def _die_with_the_parent() -> None:
    """Ask Linux for what the end of the channel brings elsewhere, once Python code runs again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _receive(channel: Channel, claims: "SimpleQueue[Claim]") -> None:
    while (words := channel.receive()) is not None:
        claims.put(load_claim(words["claim"]))
    os._exit(0)  # without its parent nobody would hear of what is done here


def memory() -> int:
    """Return the bytes of memory that this process uses; where that is unknown, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the parent has died meanwhile
        main(int(sys.argv[1]))
