"""The backend on Amazon SQS: what its queues can do for tasks, and no more.

SQS redelivers by itself what nobody has deleted in time, so a dead worker loses nothing. It
cannot tell whose outcome comes too late, though: a task whose worker was held up for longer
than its lease may run twice, and both outcomes count. It cannot look for a task either.
"""

import math
import os
import threading
from collections.abc import Collection, Sequence
from typing import Any, ClassVar
from uuid import UUID

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import InvalidOptionError, PayloadError
from ...messages import Claim, Message, Receipt, WorkerRecord
from ...outcomes import Settlement
from ..base import CAN_JOIN, Backend
from ..capabilities import Capabilities
from .batches import LARGEST_BATCH, Letter, letter
from .connection import Connection
from .envelopes import Envelope
from .holding import LONGEST_HOLD, Held, Holding
from .queues import LARGEST_MESSAGE, Queue
from .service import check_library
from .settings import read

MAX_DELAY = 86_400.0
"""Seconds. Each quarter of an hour of a delay costs three requests, or fewer in batches."""
THOROUGH_WAIT = 1
"""Seconds that a thorough claim waits, so that SQS asks all of its servers."""
VISIBILITY = 30
"""Seconds for which a message is hidden when no worker has said how long its lease is."""
ROOM = 128
"""Bytes that a message keeps free, for the counts of its task grow."""


class SQSBackend(Backend):
    """Tasks in SQS.

    Delivery is at least once and nothing more: now and then SQS hands out a message twice,
    and an outcome that comes too late is not recognized. Make the effects of tasks harmless
    when repeated.

    Args:
        conn_string: ``sqs://us-west-2/``, with ``?prefix=shop-`` for queues whose names start
            so, and ``?endpoint=http://127.0.0.1:5000`` for another server than Amazon's.
            boto3 finds the credentials.
        clock: The clock of this machine, for what it decides for itself.

    Raises:
        InvalidOptionError: The connection string cannot be read.
        UnknownBackendError: boto3 is not installed.
    """

    name: ClassVar[str] = "SQS"
    capabilities: ClassVar[Capabilities] = Capabilities(
        lease=True,
        delay=True,
        wake=True,
        cross_process=True,
        max_payload=LARGEST_MESSAGE,
        max_delay=MAX_DELAY,
    )

    def __init__(self, conn_string: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        check_library()
        self._settings = read(conn_string)
        self._clock = clock
        self._holding = Holding(clock, self._is_alive)
        self._workers: dict[UUID, _Beat] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._open: Connection | None = None

    # Opening and closing

    def open(self) -> None:
        """Make sure that SQS answers and knows our credentials.

        Raises:
            StoreUnavailableError: It does not, or does not.
        """
        self._opened()

    def close(self) -> None:
        """Hand back what nobody has claimed, and close the connections."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None and self._pid == os.getpid():
            opened.close()

    def _opened(self) -> Connection:
        if self._pid != os.getpid():
            self._start_anew()
        opened = self._open
        if opened is None:
            with self._lock:
                opened = self._open
                if opened is None:
                    opened = Connection(
                        self._settings, self._clock, self._holding, self._visibility
                    )
                    self._open = opened
        return opened

    def _start_anew(self) -> None:
        """After a fork: connections, locks and what is held are the parent's."""
        self._lock = threading.Lock()
        self._holding = Holding(self._clock, self._is_alive)
        self._workers = {}
        self._open = None
        self._pid = os.getpid()

    # Enqueueing

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Send messages, ten with each request. Each is stored or not by itself.

        When that fails in the middle, call again with the same messages: what was stored
        already runs twice, nothing is lost. No receipt tells of duplicates.

        Raises:
            Unsupported: A delay of more than a day, or any in a FIFO queue; nothing was sent.
            PayloadError: A message is too large for its queue; nothing was sent.
            SchemaError: There is no such queue; names the command.
            StoreUnavailableError: SQS does not answer or refuses us; some may be stored.
        """
        if connection is not None:
            raise self.cannot("join a transaction", CAN_JOIN)
        opened = self._opened()
        letters: dict[Queue, list[Letter]] = {}
        for message in messages:
            queue = opened.queues[message.queue]
            letters.setdefault(queue, []).append(self._letter(opened, queue, message))
        failed = [
            refused
            for queue, batch in letters.items()
            for refused in opened.batches.send(queue, batch)
            if refused is not None
        ]
        if failed:
            raise failed[0].error
        return [Receipt(message.id) for message in messages]

    def _letter(self, opened: Connection, queue: Queue, message: Message) -> Letter:
        due = message.due
        delay = max(0.0, due.seconds - opened.service.now() if due.absolute else due.seconds)
        if delay > MAX_DELAY:
            raise self.cannot(
                f"delay a task by {delay:.0f} s, the limit is {MAX_DELAY:.0f} s",
                "PostgreSQL, SQLite, Redis and local memory have no limit",
            )
        if delay and queue.fifo:
            raise self.cannot(
                f"delay a single task in the FIFO queue {queue.name}",
                "A standard queue can, one whose name does not end in .fifo",
            )
        envelope = Envelope(message.id, message.task_id, message.func, message.payload)
        sent = letter(envelope, delay, queue)
        limit = queue.largest - ROOM
        if sent.size > limit:
            raise PayloadError(
                f"The call of {message.func} takes {sent.size} bytes as a message, the limit of "
                f"the queue {queue.name} is {limit}. Store large data elsewhere and pass its key."
            )
        return sent

    # Claiming and settling

    def claim(
        self,
        queues: Sequence[str],
        limit: int,
        worker: UUID,
        settlements: Sequence[Settlement] = (),
        *,
        thorough: bool = False,
        begins: bool = False,
    ) -> list[Claim]:
        """Acknowledge, then claim what has been fetched, and have more fetched if it is short.

        With ``thorough`` this thread itself asks SQS, and waits a second for each empty queue;
        while a worker of this process waits for tasks of the same queues, also until its
        long poll of up to 20 seconds has ended.
        A worker that died is not counted, SQS knows only how often it has handed a message
        out; the redrive policy of the queue is what stops a task that kills its workers.
        """
        opened = self._opened()
        if settlements:
            self.ack(settlements)
        found = [opened.queues[name] for name in queues]
        if not thorough:
            return self._claims(opened.receivers.claim(worker, found, limit), worker)
        while True:
            brought = opened.receivers.brought
            claims = self._claims(opened.receivers.take(found, limit), worker)
            for queue in found:
                claims += self._fetch(
                    opened, queue, limit - len(claims), worker, waited=bool(claims)
                )
            if claims or not opened.receivers.bring_more(found, brought):
                return claims

    def _claims(self, held: Sequence[Held], worker: UUID) -> list[Claim]:
        """Claim what was received, except what waited for so long that others may have it."""
        self._holding.forget(one for one in held if not self._holding.is_hidden(one))
        return [self._holding.claim(one, worker) for one in held if self._holding.holds(one)]

    def _fetch(
        self, opened: Connection, queue: Queue, limit: int, worker: UUID, *, waited: bool
    ) -> list[Claim]:
        """Receive until there is enough, or SQS says that nothing more is there."""
        claims: list[Claim] = []
        while len(claims) < limit:
            wait = 0 if waited or claims else THOROUGH_WAIT
            count = min(limit - len(claims), LARGEST_BATCH)
            received = opened.reception.receive(queue, count, wait)
            if not received.number:
                break
            claims += self._claims(received.held, worker)
        return claims

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Store outcomes, and return the ids of the tasks that this process held.

        An outcome that comes after the lease has run out is stored as well, as far as SQS
        still takes it: there is no fence.

        Raises:
            AlligatorException: Some could not be stored, all others were.
        """
        applied = self._opened().settler.settle(settlements)
        self.report_stale(settlements, applied)
        return applied

    # Workers

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Have SQS hide what ``worker`` holds for another ``ttl`` seconds, in whole seconds.

        Nothing of it reaches SQS before the first claim, but its queues are looked up. False
        after a pause of more than ``ttl`` seconds: others may hold its tasks by now.

        Raises:
            InvalidOptionError: The lease is longer than SQS hides a message.
            SchemaError: A queue is missing; names the command.
            StoreUnavailableError: SQS does not answer or refuses us.
        """
        if worker.ttl > LONGEST_HOLD:
            raise InvalidOptionError(
                f"lease={worker.ttl:g}: SQS holds a task for {LONGEST_HOLD:g} s at most."
            )
        opened = self._opened()
        now = self._clock.monotonic()
        was_alive = self._is_alive(worker.id)
        self._forget_lost(opened)
        if first:
            for queue in worker.queues:
                _ = opened.queues[queue]
        elif not was_alive:
            return False
        else:
            held = [*self._holding.of(worker.id), *self._holding.of(None)]
            self._holding.extend(held, math.ceil(worker.ttl), opened.batches)
        self._workers[worker.id] = _Beat(now, worker.ttl)
        return True

    def _forget_lost(self, opened: Connection) -> None:
        """Forget the workers that have lost their leases, and what they held and asked for."""
        for worker in tuple(self._workers):
            if not self._is_alive(worker):
                self._workers.pop(worker, None)
                opened.receivers.leave(worker)
        self._holding.forget_lost()

    def _is_alive(self, worker: UUID) -> bool:
        beat = self._workers.get(worker)
        return beat is not None and self._clock.monotonic() - beat.at <= beat.ttl

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """Hand back what ``worker`` holds, and with the last one what nobody has claimed."""
        opened = self._opened()
        self._workers.pop(worker, None)
        held = self._holding.of(worker)
        opened.settler.hand_back(held)
        opened.receivers.leave(worker)

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what ``worker`` holds in this process and does not know of."""
        lost = [one for one in self._holding.of(worker) if one.envelope.id not in held]
        self._opened().settler.hand_back(lost)
        return [one.envelope.id for one in lost]

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Do nothing: SQS hands out again what a dead worker held, when its time is over."""
        return []

    def _visibility(self) -> int:
        ttls = [beat.ttl for beat in tuple(self._workers.values())]
        return math.ceil(max(ttls, default=VISIBILITY))

    # Waking

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait until something arrives that a claim has asked for."""
        return self._opened().receivers.wait(timeout)

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return None: SQS does not tell when its delays end."""
        return None

    # Looking and removing

    def len(self, queue: str) -> int:
        """Return about how many tasks of a queue wait; SQS itself knows only about."""
        opened = self._opened()
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        answer = opened.service.call(
            "get_queue_attributes",
            queue,
            QueueUrl=opened.queues[queue].url,
            AttributeNames=counts,
        )
        waiting = sum(int(answer["Attributes"][count]) for count in counts)
        return waiting + opened.receivers.waiting(queue)

    def drop_all(self, queue: str) -> None:
        """Purge a queue. What runs goes on, but does not come back when its worker dies.

        Raises:
            StoreUnavailableError: SQS does that once a minute at most.
        """
        opened = self._opened()
        opened.service.call("purge_queue", queue, QueueUrl=opened.queues[queue].url)
        self._holding.forget(opened.receivers.drop(queue))


class _Beat:
    """When a worker gave its last sign of life, on the monotonic clock, and for how long."""

    def __init__(self, at: float, ttl: float) -> None:
        self.at = at
        self.ttl = ttl
