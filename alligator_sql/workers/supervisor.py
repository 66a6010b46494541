"""Several worker processes, and one that looks after them.

Each is a fresh interpreter. The supervisor starts one that dies again, hands signals on, and
replaces them one after the other at a SIGHUP. It runs no tasks and touches no store.
"""

import logging
import math
import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from .. import jitter
from .lifeline import STAGES, VARIABLE

FIRST_PAUSE = 0.5
"""Seconds at most before a worker process that died is started again; they double each time."""
LONGEST_PAUSE = 60.0
STEADY_AFTER = 30.0
"""Seconds of life after which the pauses of a worker process begin anew."""
STOP_PATIENCE = 15.0
"""Seconds beyond the grace after which a worker process that was told to stop is killed."""
COULD_NOT = 1
"""Exit code: the workers could not start, or not all ended in order."""

logger = logging.getLogger("alligator_sql.supervisor")


class WorkerProcess:
    """A worker process.

    Args:
        number: The number of its place, from 1 on.
        command: What runs it.
        environment: Its environment.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, number: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.lifeline, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    env={**environment, VARIABLE: str(theirs.fileno())},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # a Ctrl-C at the terminal comes through the supervisor
                )
            except BaseException:
                self.lifeline.close()
                raise
        self.pid = self._process.pid
        self.name = f"worker {number} (#{self.pid})"
        self.extra = {"worker_number": number, "worker_pid": self.pid}
        self.started = time.monotonic()
        self.is_up = False
        self.told = 0
        self.kill_at = math.inf

    def tell(self, stage: int, patience: float) -> None:
        """Send the signals that it takes to be told to stop for the ``stage``-th time."""
        while self.told < stage:
            self._send(STAGES[self.told])
            self.told += 1
        self.kill_at = min(self.kill_at, time.monotonic() + patience)

    def kill(self) -> None:
        """Kill it."""
        self.kill_at = math.inf
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self, code: int) -> None:
        """Note that it has ended, and was waited for."""
        self._process.returncode = code
        self.lifeline.close()

    def has_ended_in_order(self, code: int) -> bool:
        """Whether it has ended as it was to; before it is up it needs no handlers to stop."""
        return code == 0 or (self.told > 0 and not self.is_up)


@dataclass(slots=True)
class Place:
    """Where one worker process after the other runs."""

    number: int
    process: WorkerProcess | None = None
    predecessor: WorkerProcess | None = None
    """The one that goes on until the process is up, and then stops."""
    start_at: float = 0.0
    failures: int = 0


class Supervisor:
    """Keeps worker processes running.

    It waits for all children of its process, so let it have one for itself.

    Args:
        command: What runs one of them.
        environment: Their environment.
        count: How many.
        grace: Seconds that their running tasks get at a stop.
        burst: They end by themselves when nothing is due.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        count: int,
        grace: float,
        *,
        burst: bool = False,
    ) -> None:
        self._command = command
        self._environment = environment
        self._grace = grace
        self._burst = burst
        self._places = [Place(number) for number in range(1, count + 1)]
        self._processes: dict[int, tuple[Place, WorkerProcess]] = {}
        self._to_reload: deque[Place] = deque()
        self._selector = selectors.DefaultSelector()
        self._signals = 0
        self._has_been_up = False
        self._code = 0

    def run(self) -> int:
        """Run until told to stop, or until all have ended by themselves.

        Returns:
            The exit code: 0 after a stop in order, 1 when the workers could not start or did
            not all end in order, 128 + n when signal n was the third to stop.
        """
        logger.info(
            "supervisor (#%d) runs %d worker processes; SIGHUP replaces them, stop with Ctrl-C or "
            "SIGTERM, twice to stop at once",
            os.getpid(), len(self._places),
        )  # fmt: skip
        with ExitStack() as stack:
            stack.enter_context(self._selector)
            signals = stack.enter_context(_signals())
            self._selector.register(signals, selectors.EVENT_READ)
            while not self._is_over():
                self._start_due()
                for key, _ in self._selector.select(self._rest()):
                    if key.fileobj is signals:
                        self._heard_signals(signals)
                    else:
                        self._heard(*self._processes[key.data])
                self._reap()
                self._reload_next()
                self._kill_late()
        logger.info("supervisor stopped")
        return self._code

    def _is_over(self) -> bool:
        if self._processes:
            return False
        return self._signals > 0 or all(place.start_at == math.inf for place in self._places)

    # Starting

    def _start_due(self) -> None:
        for place in self._places:
            if place.process is None and place.start_at <= time.monotonic() and not self._signals:
                self._start(place)

    def _start(self, place: Place) -> None:
        try:
            process = WorkerProcess(place.number, self._command, self._environment)
        except OSError as error:
            pause = self._pause(place)
            logger.error(
                "worker %d cannot be started: %s; trying again in %.1f s",
                place.number, error, pause,
            )  # fmt: skip
            return
        place.process = process
        self._processes[process.pid] = place, process
        self._selector.register(process.lifeline, selectors.EVENT_READ, process.pid)
        logger.info("%s started", process.name, extra=process.extra)

    def _pause(self, place: Place) -> float:
        """Let ``place`` wait before its next start, and return for how long."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(place.failures, 20))
        pause *= jitter.uniform(0.5, 1.0)
        place.failures += 1
        place.start_at = time.monotonic() + pause
        return pause

    # Listening

    def _rest(self) -> float | None:
        """Seconds until something is to be done, None when only an event can bring it."""
        moments = [process.kill_at for _, process in self._processes.values()]
        if not self._signals:
            moments += [place.start_at for place in self._places if place.process is None]
        first = min(moments, default=math.inf)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _heard_signals(self, signals: socket.socket) -> None:
        for number in signals.recv(4096):
            if number in {signal.SIGTERM, signal.SIGINT}:
                self._stop(number)
            elif number == signal.SIGHUP and not self._signals:
                logger.info("supervisor replaces its worker processes")
                self._to_reload = deque(self._places)

    def _heard(self, place: Place, process: WorkerProcess) -> None:
        """Hear from a worker process that it is up, or that it has nothing more to say."""
        try:
            said = process.lifeline.recv(16)
        except OSError:
            said = b""
        if not said:
            self._selector.unregister(process.lifeline)
            return
        self._has_been_up = process.is_up = True
        if place.predecessor is not None and process is place.process:
            logger.info("%s is up in the place of %s", process.name, place.predecessor.name)
            place.predecessor.tell(max(1, self._signals), self._grace + STOP_PATIENCE)

    # Stopping

    def _stop(self, number: int) -> None:
        self._signals = min(self._signals + 1, len(STAGES))
        logger.info(
            "supervisor was told to stop (%s), and tells its worker processes",
            signal.Signals(number).name,
        )
        if self._signals == len(STAGES):
            self._code = 128 + number
        self._tell_all()

    def _tell_all(self) -> None:
        self._to_reload.clear()
        patience = STOP_PATIENCE + (self._grace if self._signals == 1 else 0)
        for _, process in self._processes.values():
            process.tell(self._signals, patience)

    def _give_up(self) -> None:
        """Stop because the workers cannot start."""
        self._code = COULD_NOT
        self._signals = max(1, self._signals)
        self._tell_all()

    def _kill_late(self) -> None:
        for _, process in self._processes.values():
            if process.kill_at <= time.monotonic():
                logger.error("%s does not stop, killing it", process.name, extra=process.extra)
                process.kill()

    # Ends

    def _reap(self) -> None:
        """Wait for all that has ended: the first process of a container gets strangers, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._processes:
                self._ended(*self._processes.pop(pid), os.waitstatus_to_exitcode(status))

    def _ended(self, place: Place, process: WorkerProcess, code: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(process.lifeline)
        process.ended(code)
        in_order = process.has_ended_in_order(code)
        what = "stopped" if in_order else _how_it_died(code)
        predecessor = place.predecessor
        was_predecessor = process is predecessor
        if was_predecessor:
            place.predecessor = None
        elif predecessor is not None and not predecessor.told:
            place.process, place.predecessor = predecessor, None
        else:
            place.process = None
        if self._signals and not in_order:
            self._code = self._code or COULD_NOT
        if not self._signals and not process.told and not was_predecessor:
            what = self._after_end(place, process, code, what)
        level = logging.INFO if in_order else logging.ERROR
        extra = process.extra | {"exit_code": code}
        logger.log(level, "%s %s", process.name, what, extra=extra)

    def _after_end(self, place: Place, process: WorkerProcess, code: int, what: str) -> str:
        """Decide what comes after an end that nobody has asked for; return the words for it."""
        if place.process is not None:
            self._to_reload.clear()
            return f"{what} before it was up, {place.process.name} goes on"
        if self._burst and code == 0:
            place.start_at = math.inf
            return "has ended, nothing is due"
        if code > 0 and not self._has_been_up:
            self._give_up()
            return f"{what} before any was up, giving up"
        if time.monotonic() - process.started >= STEADY_AFTER:
            place.failures = 0
        return f"{what}, restarting in {self._pause(place):.1f} s"

    # Replacing

    def _reload_next(self) -> None:
        """Start the successor of the next one, once the last one is all alone in its place."""
        if not self._to_reload or any(place.predecessor for place in self._places):
            return
        place = self._to_reload.popleft()
        place.start_at = 0.0
        place.predecessor, place.process = place.process, None
        self._start(place)
        if place.process is None:
            place.process, place.predecessor = place.predecessor, None


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"died with exit code {code}"
    try:
        return f"died by {signal.Signals(-code).name}"
    except ValueError:
        return f"died by signal {-code}"


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Return a socket from which the numbers of the signals can be read that arrive.

    All have handlers: the first process of a container gets no signal without one.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
