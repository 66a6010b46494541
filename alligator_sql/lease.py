"""The lease of a worker process: a row that says it is alive, renewed in the background.

Tasks are held by the process, not one by one: while its lease lasts they are its own, and
once it has ended every other worker may take them back.
"""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from .backends import Backend
from .exceptions import StoreUnavailableError
from .messages import WorkerRecord

logger = logging.getLogger(__name__)

TTL = 30.0
"""Seconds that a lease lasts without being renewed; it is renewed three times as often."""


class Lease:
    """Holds a lease while the ``with`` block runs.

    A process whose lease has ended goes on as a new incarnation: under a new id, so that
    whatever it still reports about its old tasks changes nothing.

    Args:
        backend: Where the lease is held.
        queues: What the worker consumes, for reports.
        ttl: Seconds that the lease lasts without being renewed.
    """

    def __init__(self, backend: Backend, queues: Sequence[str], ttl: float = TTL) -> None:
        self._backend = backend
        self._queues = tuple(queues)
        self._ttl = ttl
        self._record = self._incarnation()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="alligator-lease", daemon=True)
        self.holds = False
        """Set before leaving when the worker ends without having settled everything."""

    @property
    def worker(self) -> UUID:
        """The id of the present incarnation."""
        return self._record.id

    def __enter__(self) -> Self:
        if self._backend.capabilities.lease:
            self._backend.heartbeat(self._record, first=True)
            self._thread.start()
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
        self._thread.join()
        try:
            self._backend.leave(self.worker, holds=self.holds or error is not None)
        except StoreUnavailableError as problem:
            logger.warning("could not end the lease, it will run out: %s", problem)

    def _beat(self) -> None:
        complained = False
        while not self._stop.wait(self._ttl / 3):
            try:
                if not self._backend.heartbeat(self._record):
                    logger.error(
                        "the lease of worker %s has ended; its tasks may run elsewhere", self.worker
                    )
                    fresh = self._incarnation()
                    self._backend.heartbeat(fresh, first=True)
                    self._record = fresh
                complained = False
            except Exception:  # the lease must outlive any trouble of the store
                if not complained:
                    logger.exception("cannot renew the lease, trying on")
                complained = True

    def _incarnation(self) -> WorkerRecord:
        return WorkerRecord(uuid4(), socket.gethostname(), os.getpid(), self._queues, self._ttl)
