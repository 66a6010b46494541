"""The lease of a worker process: a row that says it is alive, renewed in the background.

Tasks are held by the process, not one by one: while its lease lasts they are its own, and
once it has ended every other worker may take them back.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from . import jitter, timers
from .backends import Backend
from .exceptions import StoreUnavailableError
from .messages import WorkerRecord

logger = logging.getLogger(__name__)

TTL = 30.0
"""Seconds that a lease lasts without being renewed; it is renewed three times as often."""
FIRST_PAUSE = 0.2
"""Seconds before another try when the lease cannot be renewed; twice as many each time."""


def _ignore() -> None:
    pass


class Lease:
    """Holds a lease while the ``with`` block runs.

    A process whose lease has ended goes on as a new incarnation: under a new id, so that
    whatever it still reports about its old tasks changes nothing. It does not wait for the
    store to say so: when it has not been able to renew the lease in time, by its own clock,
    the lease is lost.

    Args:
        backend: Where the lease is held.
        queues: What the worker consumes, for reports.
        ttl: Seconds that the lease lasts without being renewed.
        lost: Called, on any thread, when the lease is lost; it must not wait for anything.
        patient: Whether a store that does not answer at the start is tried again in the
            background, as it is later on; else that is an error.
    """

    def __init__(
        self,
        backend: Backend,
        queues: Sequence[str],
        ttl: float = TTL,
        lost: Callable[[], object] = _ignore,
        *,
        patient: bool = False,
    ) -> None:
        self._backend = backend
        self._queues = tuple(queues)
        self._ttl = ttl
        self._lost = lost
        self._patient = patient
        self._lock = threading.Lock()
        self._record = self._incarnation()
        self._is_held = False
        self._ends_at = 0.0
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._timer: timers.Timer | None = None
        self._thread = threading.Thread(target=self._beat, name="alligator-lease", daemon=True)
        self.holds = False
        """Set before leaving when the worker ends without having settled everything."""

    @property
    def worker(self) -> UUID:
        """The id of the present incarnation."""
        return self._record.id

    @property
    def is_held(self) -> bool:
        """Whether the present incarnation has a lease, by the clock of this process."""
        return self._is_held

    def __enter__(self) -> Self:
        if self._backend.capabilities.lease:
            try:
                self._begin()
            except StoreUnavailableError as error:
                if not self._patient:
                    raise
                logger.warning("cannot begin the lease, trying on: %s", error)
                self._hurry.set()
            self._thread.start()
        else:
            self._is_held = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._backend.capabilities.lease:
            return
        self._stop.set()
        self._hurry.set()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.join()
        try:
            self._backend.leave(self.worker, holds=self.holds or error is not None)
        except Exception as problem:  # what has been settled is, whatever becomes of the lease
            logger.warning("could not end the lease, it will run out: %s", problem)

    def _begin(self) -> None:
        """Begin the lease of the present incarnation."""
        record, sent = self._record, time.monotonic()
        try:
            self._backend.heartbeat(record, first=True)
        except Exception:
            # Perhaps only the answer was lost, and a lease begins but once.
            self._record = self._incarnation()
            raise
        with self._lock:
            self._ends_at, self._is_held = sent + self._ttl, True
        self._timer = timers.at(self._ends_at, lambda: self._check(record.id))

    def _renew(self) -> None:
        record, sent = self._record, time.monotonic()
        if not self._backend.heartbeat(record):
            self._lose(record.id, "has ended")
            return
        with self._lock:
            if record is self._record and self._is_held:
                # The store counts from a later moment: ours is never the longer one.
                self._ends_at = sent + self._ttl

    def _check(self, worker: UUID) -> None:
        """Lose the lease if it was not renewed in time; else look again at its new end."""
        with self._lock:
            ends_at = self._ends_at
        if self._stop.is_set() or worker != self.worker:
            return
        if time.monotonic() < ends_at:
            self._timer = timers.at(ends_at, lambda: self._check(worker))
        else:
            self._lose(worker, "could not be renewed in time")

    def _lose(self, worker: UUID, why: str) -> None:
        with self._lock:
            if worker != self._record.id:
                return
            self._is_held = False
            self._record = self._incarnation()
        logger.error("the lease of worker %s %s; its tasks may run elsewhere", worker, why)
        self._lost()
        self._hurry.set()

    def _beat(self) -> None:
        failures = 0
        while True:
            pause = self._ttl / 3
            if failures:
                pause = min(pause, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
                pause *= jitter.uniform(0.5, 1.0)
            self._hurry.wait(pause)
            if self._stop.is_set():
                return
            self._hurry.clear()
            try:
                self._renew() if self._is_held else self._begin()
            except Exception as error:  # the lease must outlive any trouble of the store
                failures += 1
                if failures == 1:
                    known = isinstance(error, StoreUnavailableError)
                    logger.warning(
                        "cannot renew the lease, trying on: %s",
                        error,
                        exc_info=None if known else error,
                    )
            else:
                if failures:
                    logger.warning("the lease is renewed again")
                failures = 0

    def _incarnation(self) -> WorkerRecord:
        return WorkerRecord(uuid4(), socket.gethostname(), os.getpid(), self._queues, self._ttl)
