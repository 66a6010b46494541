"""The messages that this process holds: which task, under which handle, and until when."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from ...clock import Clock
from ...exceptions import AlligatorException
from ...messages import Claim
from ...records import record
from .batches import Batches
from .envelopes import Envelope
from .queues import Queue

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_HOLD = 12 * 3600.0
"""Seconds after its receipt for which SQS hides a message at most."""


@dataclass(slots=True, eq=False)
class Held:
    """A message that SQS hides from all others because this process has received it.

    Attributes:
        queue: Where it came from.
        message_id: The name that SQS gave it.
        handle: What to delete or hide it by; the newest one counts.
        envelope: The task.
        receives: How often SQS has handed it out, about.
        age: Seconds that the task had lived when it was received.
        received: When that was, on the monotonic clock.
        until: Until when SQS hides it, on that clock.
        worker: Who holds it; None while nobody has claimed it.
        replaced: Another message carries its task on, or it has gone to the dead letters.
        settled: What became of it is stored, except perhaps for others of the same batch.
        overdue: It can be hidden no longer, which has been said.
    """

    queue: Queue
    message_id: str
    handle: str
    envelope: Envelope
    receives: int
    age: float
    received: float
    until: float
    worker: UUID | None = None
    replaced: bool = False
    settled: bool = False
    overdue: bool = False


@record
class MessageClaim(Claim):
    """A claim that knows its message."""

    held: Held = field(kw_only=True, repr=False, compare=False)


class Holding:
    """What this process holds.

    A message that SQS delivers again while it is held here is not handed out twice: the new
    handle takes the place of the old one. But what a worker held that has lost its lease is
    anybody's, also the next incarnation's in this process.

    Args:
        clock: The clock of this machine.
        is_alive: Tells whether a worker of this process has a lease.
    """

    def __init__(self, clock: Clock, is_alive: Callable[[UUID], bool]) -> None:
        self._clock = clock
        self._is_alive = is_alive
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def add(self, new: Held) -> bool:
        """Hold a message that was received; False when it was held already."""
        with self._lock:
            old = self._held.get(new.message_id)
            if old is None or old.settled or self._is_lost(old):
                self._held[new.message_id] = new
                return True
            old.handle, old.received, old.until = new.handle, new.received, new.until
            old.overdue = False
            return False

    def claim(self, held: Held, worker: UUID) -> MessageClaim:
        """Give a message to ``worker``."""
        held.worker = worker
        waited = self._clock.monotonic() - held.received
        return MessageClaim(
            id=held.envelope.id,
            queue=held.queue.name,
            func=held.envelope.func,
            payload=held.envelope.payload,
            lease=held.receives,
            worker=worker,
            attempts=held.envelope.attempts + 1,
            crashes=0,
            age=held.age + waited,
            held=held,
        )

    def holds(self, held: Held) -> bool:
        """Whether ``held`` is still to be settled."""
        return self._held.get(held.message_id) is held

    def forget(self, gone: Iterable[Held]) -> None:
        """Hold these no longer."""
        with self._lock:
            for held in gone:
                if self.holds(held):
                    del self._held[held.message_id]

    def forget_lost(self) -> None:
        """Hold no longer what comes back from SQS to anybody, because its worker is no more."""
        with self._lock:
            held = list(self._held.values())
        self.forget(one for one in held if self._is_lost(one) and not self.is_hidden(one))

    def _is_lost(self, held: Held) -> bool:
        return held.worker is not None and not self._is_alive(held.worker)

    def of(self, worker: UUID | None) -> list[Held]:
        """Return what ``worker`` holds, or nobody has claimed."""
        with self._lock:
            return [
                held for held in self._held.values() if held.worker == worker and not held.settled
            ]

    def is_hidden(self, held: Held) -> bool:
        """Whether SQS still hides the message, as far as this process knows."""
        return self._clock.monotonic() < held.until

    def extend(self, held: Iterable[Held], seconds: int, batches: Batches) -> None:
        """Let SQS hide messages for ``seconds`` from now.

        Raises:
            StoreUnavailableError: SQS does not answer; some may be hidden longer.
        """
        now = self._clock.monotonic()
        lasting = []
        for one in held:
            if now + seconds <= one.received + LONGEST_HOLD:
                lasting.append(one)
            elif not one.overdue:
                one.overdue = True
                logger.warning(
                    "task %s runs for almost 12 hours, longer than SQS lets it be held: it will "
                    "be handed out again",
                    one.envelope.id,
                )
        trouble: AlligatorException | None = None
        for queue, group in by_queue(lasting, lambda one: one.queue):
            results = batches.hide(queue, [one.handle for one in group], seconds)
            for one, refused in zip(group, results, strict=True):
                if refused is None:
                    one.until = now + seconds
                elif not refused.final:
                    trouble = refused.error
                elif self.holds(one) and not one.settled and not one.overdue:
                    one.overdue = True
                    logger.warning(
                        "task %s is held no longer and may run elsewhere: %s",
                        one.envelope.id,
                        refused.error,
                    )
        if trouble is not None:
            raise trouble


def by_queue(items: Iterable[T], queue_of: Callable[[T], Queue]) -> list[tuple[Queue, list[T]]]:
    """Return ``items`` grouped by their queue, in their order."""
    groups: dict[Queue, list[T]] = {}
    for item in items:
        groups.setdefault(queue_of(item), []).append(item)
    return list(groups.items())
