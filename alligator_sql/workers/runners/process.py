"""Running tasks in child processes: for work of the processor, and for what may crash.

Each thread of the runner has a child of its own, started anew and not forked. What kills a
child, or is killed with it, is one task and no other.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...context import TaskContext
from ...exceptions import ChildDied, Interrupted, InvalidOptionError
from ...execution import dead, given_up
from ...gator import Gator
from ...messages import Claim, Failure, Payload, Progress
from ...outcomes import Outcome, Snoozed
from ..interpreter import command
from .base import Done, MakeContext
from .thread import ThreadRunner
from .wire import Channel, Words, dump_claim, load_outcome, load_payload

logger = logging.getLogger(__name__)

CHILD = "alligator_sql.workers.runners.child"
NO_CHILD_PAUSE = 5.0
"""Seconds for which a task is put back when no process can be started for it."""
END_PATIENCE = 5.0
"""Seconds that a child without a task gets to end before it is killed."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """When a child is replaced by a new one.

    Attributes:
        tasks: After so many tasks; 0 for never.
        memory: Once it uses more bytes of memory than this after a task; 0 for never.
    """

    tasks: int = 0
    memory: int = 0


def process_runner(
    gator: Gator,
    slots: int,
    limits: ChildLimits,
    log_level: int,
    context: MakeContext,
    done: Done,
    refusal: Callable[[Claim], Outcome | None],
) -> ThreadRunner:
    """Return a runner with ``slots`` child processes.

    Args:
        gator: Whose tasks are run; each child makes one like it.
        slots: How many children.
        limits: When a child is replaced.
        log_level: What is logged in the children; the handlers are those of this process.
        context: Makes the context of a claim.
        done: Called with what became of a claim.
        refusal: Returns what becomes of a claim that must not be started, else None.

    Raises:
        InvalidOptionError: A child could not make such a gator.
    """
    children = Children(_settings_of(gator, log_level), limits, refusal)
    return ThreadRunner(slots, context, children.perform, done, children.end_own)


def _settings_of(gator: Gator, log_level: int) -> Words:
    options = gator.portable_options
    if options is None:
        raise InvalidOptionError(
            "executor='processes': the child processes make a gator of their own, so give a "
            "connection string, and neither an engine nor a backend class."
        )
    task_class = gator.task_class
    name = f"{task_class.__module__}:{task_class.__qualname__}"
    if task_class.__module__ == "__main__" or "<locals>" in name:
        raise InvalidOptionError(
            f"executor='processes': the child processes cannot import the task class {name}. Put "
            "it into a module."
        )
    return {
        "conn_string": gator.conn_string,
        "task_class": name,
        "options": options,
        "log_level": log_level,
        "path": sys.path,
    }


class Children:
    """One child process for each thread that runs tasks."""

    def __init__(
        self,
        settings: Words,
        limits: ChildLimits,
        refusal: Callable[[Claim], Outcome | None],
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._refusal = refusal
        self._own = threading.local()

    def perform(self, claim: Claim, context: TaskContext) -> Outcome:
        """Run a claim in the child of this thread."""
        refused = self._refusal(claim)
        if refused is not None:
            return refused
        outcome = None
        while outcome is None:
            try:
                child = self._child()
            except OSError as error:
                logger.error("cannot start a child process, task %s waits: %s", claim.id, error)
                return Snoozed(NO_CHILD_PAUSE, error)
            outcome = child.run(claim, context)
        return outcome

    def _child(self) -> "Child":
        child: Child | None = getattr(self._own, "child", None)
        if child is not None and child.is_worn(self._limits):
            child.end()
            child = None
        if child is None:
            child = self._own.child = Child(self._settings)
        return child

    def end_own(self) -> None:
        """End the child of this thread."""
        child: Child | None = getattr(self._own, "child", None)
        if child is not None:
            child.end()
            self._own.child = None


class Child:
    """A child process.

    Args:
        settings: What it needs to know before its first task.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, settings: Words) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - a module of ours
                    [*command(CHILD), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # a Ctrl-C at the terminal is for the worker alone
                )
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(ours)
        self._tasks = 0
        self._memory = 0
        self._is_ready = False
        self._is_alive = True
        self._is_killed = False
        threading.Thread(target=self._watch, name="alligator-child", daemon=True).start()
        with suppress(OSError):  # that it is gone shows at its first task
            self._channel.send(settings)

    def _watch(self) -> None:
        """Let the end of the process be the end of the talk, whoever else holds the socket.

        What the task has forked does.
        """
        self._process.wait()
        self._channel.end()

    def run(self, claim: Claim, context: TaskContext) -> Outcome | None:
        """Run a claim, and return what became of it, whatever becomes of the child.

        Returns:
            None when a child that has run others did not say a word about it: perhaps it was
            dead already, which shows a moment later. A new one always has an answer.
        """
        self._tasks += 1
        try:
            return self._talk(claim, context)
        except BaseException:
            self._kill()  # what it has yet to say would be taken for words about its next task
            raise

    def _talk(self, claim: Claim, context: TaskContext) -> Outcome | None:
        last_will: tuple[float, Payload] | None = None
        heard = False
        with context.stopped_by(self._kill):
            with suppress(OSError):
                self._channel.send({"claim": dump_claim(claim)})
            while (words := self._channel.receive()) is not None:
                heard = True
                match words:
                    case {"ready": True}:
                        self._is_ready = True
                    case {"started": timeout, "retry": retry}:
                        context.begin(context.id, timeout)
                        last_will = retry and (retry[0], load_payload(retry[1]) or "")
                    case {"progress": [percent, message]}:
                        context.said = Progress(percent, message)
                    case {"log": record}:
                        _log(record)
                    case {"outcome": outcome, "memory": memory}:
                        self._memory = memory
                        context.end()
                        return load_outcome(outcome)
        if not heard and self._tasks > 1 and context.interruption is None:
            self.end()
            return None
        context.end()
        self.end()
        code = self._process.returncode
        if context.interruption is None and not self._is_ready:
            logger.error("a child process did not start, task %s waits: %s", claim.id, _end(code))
            return Snoozed(NO_CHILD_PAUSE, ChildDied(_end(code)))
        if context.interruption is None:
            return dead(Failure("ChildDied", _end(code)), last_will)
        return given_up(context.interruption, "its process was killed", last_will)

    def is_worn(self, limits: ChildLimits) -> bool:
        """Whether another one is to take its place; it may have died without a task, too."""
        return (
            not self._is_alive
            or self._is_killed
            or self._process.returncode is not None
            or 0 < limits.tasks <= self._tasks
            or 0 < limits.memory < self._memory
        )

    def end(self) -> None:
        """End a child without a task: it goes when its parent's end is closed."""
        if self._is_alive:
            self._is_alive = False
            self._channel.close()
        try:
            self._process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()

    def _kill(self, _why: Interrupted | None = None) -> None:
        """Kill the child, and what it has started in its group."""
        self._is_killed = True  # its end shows a moment later
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _end(code: int) -> str:
    if code >= 0:
        return f"The process of the task ended by itself, with the exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; perhaps the system ran out of memory" if -code == signal.SIGKILL else ""
    return f"The process of the task was ended by {name}{hint}."


def _log(record: dict[str, Any]) -> None:
    log = logging.getLogger(record["name"])
    if log.isEnabledFor(record["levelno"]):
        log.handle(logging.makeLogRecord(record))
