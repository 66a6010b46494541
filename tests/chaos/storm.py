"""The storm: producers and workers as processes of their own, and what is done to them.

The seed decides which faults come, when, to whom and for how long. One thread does all of it,
from a heap of what is to be done at which time.
"""

import heapq
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from tests.helpers import wait_until
from tests.integration.commands import environment
from tests.proxy import Proxy

from .journal import VARIABLE, Journal, Ran, Struck, now, parse
from .producer import QUEUE
from .stores import Store

LEASE: Final = 2.0
"""Seconds of a worker's lease."""
GRACE: Final = 2.0
PATIENCE: Final = 30.0
"""Seconds beyond its grace in which a process has to end that was told to."""
STARTING: Final = 60.0
"""Seconds in which the first task has to run: all processes start at once."""
PAUSE: Final = 1.0
"""Seconds between two faults, on average."""
PROJECT: Final = Path(__file__).parents[2]
WORKER: Final = ("-m", "alligator_sql.cli", "worker")
PROCESS_FAULTS: Final = ("kill", "kill", "kill-producer", "freeze", "stop", "stop-twice")
"""What can be done to processes, whatever the store; the first is twice as frequent."""
CONNECTION_FAULTS: Final = ("stall", "reset", "cut", "swallow")
"""What the proxy of a process can do."""
STORE_FAULTS: Final = ("restart", "disconnect", "lock")


class Process:
    """A producer or worker that is started again whenever it has ended.

    Attributes:
        proxy: What stands between it and the store; None where the store is a file.
        busy: Whether something is being done to it.
        problems: What it did that no process may do.
    """

    def __init__(self, name: str, arguments: tuple[str, ...], store: Store, folder: Path) -> None:
        self.name = name
        self.proxy = None if store.port is None else Proxy(store.port)
        self.busy = False
        self.problems: list[str] = []
        self._command = [sys.executable, *arguments]
        self._environment = environment(
            ALLIGATOR_CONN=store.dsn(None if self.proxy is None else self.proxy.port),
            PYTHONPATH=str(PROJECT),
            PYTHONFAULTHANDLER="1",
        ) | {VARIABLE: str(folder / "journal.jsonl")}
        # Python 3.11 under a tracer goes round in circles while an exception is on its way to a
        # thread that waits, and coverage learns nothing from a process that is killed.
        self._environment.pop("COVERAGE_PROCESS_CONFIG", None)
        self._log = folder / f"{name}.log"
        self._told_at: float | None = None
        self._starts()

    @property
    def pid(self) -> int:
        """The present process."""
        return self._process.pid

    def send(self, number: int, *, only_to: int | None = None) -> None:
        """Send a signal; after SIGTERM it has to end with exit code 0."""
        if only_to not in (None, self.pid):
            return  # there is another one by now
        self._process.send_signal(number)
        if number == signal.SIGTERM and self._told_at is None:
            self._told_at = time.monotonic()

    def kill(self) -> None:
        """End it as ``kill -9`` does, and start another one."""
        self._process.kill()
        self._process.wait()
        self._starts()

    def abort(self, problem: str) -> None:
        """Note a problem and end the process so that its log says where its threads are."""
        self.problems.append(f"{self.name} (pid {self.pid}) {problem}, see where in {self._log}")
        self._process.send_signal(signal.SIGABRT)
        self._process.wait()

    def look(self, *, again: bool = True) -> bool:
        """Return whether it runs; if it has ended, ask why, and start it again if told to."""
        code = self._process.poll()
        if code is None:
            late = self._told_at and time.monotonic() - self._told_at - GRACE - PATIENCE
            if not late or late < 0:
                return True
            self.abort("does not stop after SIGTERM")
        elif self._told_at is None:
            self.problems.append(f"{self.name} (pid {self.pid}) ended by itself: {code}")
        elif code and not (code == -signal.SIGTERM and self._was_deaf()):
            self.problems.append(f"{self.name} (pid {self.pid}) ended with {code} after SIGTERM")
        if again:
            self._starts()
        return False

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        if self.proxy is not None:
            self.proxy.close()

    def _starts(self) -> None:
        self._told_at = None
        self.busy = False
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=PROJECT, stdout=log, stderr=log
            )

    def _was_deaf(self) -> bool:
        """Whether it had not yet set up what a worker does at a signal."""
        return f"#{self.pid}) consuming" not in self._log.read_text()


class Storm:
    """Producers and workers of a store, and faults that are done to all of them.

    Args:
        store: What they share.
        folder: Where the journal and the logs of the processes go.
        seed: What decides on everything that is random.
        producers: How many.
        workers: How many.
        worker: What the interpreter gets to start a worker, other than ours.
        faults: What may be done.
        told: Called with a line about each fault.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        seed: int,
        producers: int,
        workers: int,
        worker: tuple[str, ...] = WORKER,
        faults: tuple[str, ...] = (),
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._random = Random(seed)
        self._faults = faults or (*PROCESS_FAULTS, *store.faults)
        self._path = folder / "journal.jsonl"
        self._journal = Journal(self._path)
        self._told = told
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.workers: list[Process] = []
        self.producers: list[Process] = []
        options = ("-q", QUEUE, "-c", "4", "--lease", str(LEASE), "--grace", str(GRACE))
        try:
            for number in range(workers):
                arguments = (*worker, *options)
                self.workers.append(Process(f"worker-{number}", arguments, store, folder))
            for number in range(producers):
                arguments = ("-m", "tests.chaos.producer", f"{seed}-{number}")
                self.producers.append(Process(f"producer-{number}", arguments, store, folder))
        except BaseException:
            self.close()
            raise

    @property
    def problems(self) -> list[str]:
        """What processes did that none may do."""
        return [problem for process in self._all() for problem in process.problems]

    def rage(self, seconds: float) -> None:
        """Do random things for ``seconds``, once a first task has run, then undo what lasts.

        A machine that is too slow for one in two seconds gets longer.
        """
        wait_until(lambda: '["Ran"' in self._path.read_text(), STARTING)
        ends_at = time.monotonic() + seconds
        next_at = time.monotonic()
        strikes = 0
        while (moment := time.monotonic()) < ends_at or strikes < seconds / 2:
            while self._agenda and self._agenda[0][0] <= moment:
                heapq.heappop(self._agenda)[2]()
            for process in self._all():
                process.look()
            if moment >= next_at:
                self._strike()
                strikes += 1
                next_at = moment + self._random.uniform(0, 2 * PAUSE)
            time.sleep(0.02)
        while self._agenda:
            heapq.heappop(self._agenda)[2]()

    def drain(self, patience: float, patience_with_the_rest: float) -> None:
        """Let each worker run something; then let the producers end, and the workers do the rest.

        Each has to come to pass within its seconds.
        """
        begin = self._path.stat().st_size
        self._wait(lambda: self._idle_since(begin), self._all(), patience)
        for process in self._idle_since(begin):
            process.abort("runs nothing any more")
            process.kill()
        self._stop(self.producers)
        self._wait(self._store.unfinished, self.workers, patience_with_the_rest)
        self._stop(self.workers)

    def close(self) -> None:
        """Kill all processes."""
        for process in self._all():
            process.close()

    def _stop(self, processes: list[Process]) -> None:
        for process in processes:
            process.send(signal.SIGTERM)
        for process in processes:
            while process.look(again=False):
                time.sleep(0.02)

    def _wait(self, busy: Callable[[], object], processes: list[Process], patience: float) -> None:
        deadline = time.monotonic() + patience
        while busy() and time.monotonic() < deadline:
            for process in processes:
                process.look()
            time.sleep(0.1)

    def _idle_since(self, begin: int) -> list[Process]:
        """Return the workers that ran no task since the journal had ``begin`` bytes."""
        with self._path.open() as file:
            file.seek(begin)
            whole = file.read().rpartition("\n")[0]
        ran = {entry.pid for entry in parse(whole.splitlines()) if isinstance(entry, Ran)}
        return [process for process in self.workers if process.pid not in ran]

    def _strike(self) -> None:
        """Do the next thing. What that is does not depend on what the processes are up to."""
        fault = self._random.choice(self._faults)
        place, extent, size = (self._random.random() for _ in range(3))
        if fault in STORE_FAULTS:
            self._on_store(fault, extent)
            return
        among = self.producers if fault == "kill-producer" else self.workers
        if fault in CONNECTION_FAULTS:
            among = self._all()
        free = [process for process in among if not process.busy]
        if not free:
            return
        process = free[int(place * len(free))]
        if process.proxy is not None and fault in CONNECTION_FAULTS:
            self._on_connection(fault, process, process.proxy, extent, size)
        else:
            self._on_process(fault, process, extent)

    def _on_store(self, fault: str, extent: float) -> None:
        began, lasts = now(), 0.0
        match fault:
            case "restart":
                self._store.restart()
                lasts = now() - began
            case "disconnect":
                self._store.disconnect()
            case "lock":
                self._store.lock()
                began, lasts = now(), 0.5 + 3 * extent
                self._later(lasts, self._store.unlock)
        self._note(began, fault, self._store.name, 0, lasts)

    def _on_process(self, fault: str, process: Process, extent: float) -> None:
        began, pid, lasts = now(), process.pid, 0.0
        match fault:
            case "kill" | "kill-producer":
                process.kill()
            case "freeze":
                lasts = LEASE * (1.2 + 1.3 * extent)
                process.send(signal.SIGSTOP)
                self._hold(process, lasts, lambda: process.send(signal.SIGCONT))
            case "stop":
                process.busy = True  # until another one has started
                process.send(signal.SIGTERM)
            case "stop-twice":
                lasts = 0.5 * extent
                process.busy = True
                process.send(signal.SIGTERM)
                self._later(lasts, lambda: process.send(signal.SIGTERM, only_to=pid))
        self._note(began, fault, process.name, pid, lasts)

    def _on_connection(
        self, fault: str, process: Process, proxy: Proxy, extent: float, size: float
    ) -> None:
        began, lasts = now(), 0.0
        match fault:
            case "stall":
                lasts = 0.2 + 4 * extent
                proxy.stall()
                self._hold(process, lasts, proxy.flow)
            case "reset":
                proxy.reset()
            case "cut":
                proxy.cut(int(20_000 * size))
            case "swallow":
                lasts = 0.5 + 4 * extent
                proxy.swallow("questions" if size < 0.5 else "answers")
                # A stream with a hole cannot go on.
                self._hold(process, lasts, proxy.swallow, proxy.reset)
        self._note(began, fault, process.name, process.pid, lasts)

    def _hold(self, process: Process, seconds: float, *undo: Callable[[], None]) -> None:
        """Leave ``process`` alone for ``seconds``, then ``undo`` what was done to it."""
        process.busy = True
        self._later(seconds, *undo, lambda: setattr(process, "busy", False))

    def _later(self, seconds: float, *actions: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        for action in actions:
            heapq.heappush(self._agenda, (due, next(self._numbers), action))

    def _note(self, at: float, fault: str, target: str, pid: int, seconds: float) -> None:
        self._journal.write(Struck(at, fault, target, pid, round(seconds, 3)))
        lasts = f" for {seconds:.1f} s" if seconds else ""
        self._told(f"{at:.3f} {fault} {target}{f' (pid {pid})' if pid else ''}{lasts}")

    def _all(self) -> list[Process]:
        return [*self.workers, *self.producers]
