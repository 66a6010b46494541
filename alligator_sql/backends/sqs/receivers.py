"""Threads that fetch what the workers of this process have asked for, and no more.

SQS hands out at most ten messages with each request and waits up to twenty seconds for the
first one, on one queue. So each queue has threads that wait; a claim takes what they have
brought and says how much it lacks.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from .batches import LARGEST_BATCH
from .holding import Held
from .queues import Queue
from .reception import Received
from .service import LONG_POLL

PER_QUEUE = 4
"""Threads that fetch from one queue while it gives full batches; else one does."""
LARGEST_BUFFER = 100
"""Messages that are fetched ahead for one worker at most."""
UNCLAIMED_AFTER = 2.0
"""Seconds after which fetched messages are handed back when nobody claims them."""
LONGEST_BACKOFF = 30.0

Receive = Callable[[Queue, int, int], Received]
HandBack = Callable[[Sequence[Held]], None]


@dataclass(slots=True)
class _Source:
    """What is known about one queue.

    Attributes:
        threads: How many threads fetch from it.
        reserved: Messages that requests on their way may bring.
        dry: The last request found nothing: one may wait long, and the next queue is asked.
        full: The last request brought as much as it could.
        failures: Requests that failed in a row.
    """

    queue: Queue
    threads: int = 0
    reserved: int = 0
    dry: bool = False
    full: bool = False
    failures: int = 0


class Receivers:
    """Fetches messages in the background.

    Args:
        receive: Receives messages of a queue.
        hand_back: Lets others have messages at once.
    """

    def __init__(self, receive: Receive, hand_back: HandBack) -> None:
        self._receive = receive
        self._hand_back = hand_back
        self._changed = threading.Condition()
        self._buffer: deque[tuple[float, Held]] = deque()
        self._sources: dict[str, _Source] = {}
        self._wanted: dict[UUID, tuple[tuple[str, ...], int]] = {}
        self._journeys: dict[int, str | None] = {}
        self._departures = 0
        self._brought = 0
        self._news = False
        self._closed = False
        self._error: Exception | None = None

    def take(self, queues: Sequence[Queue], limit: int) -> list[Held]:
        """Return up to ``limit`` fetched messages, those of the first queues first."""
        with self._changed:
            return self._take([queue.name for queue in queues], limit)

    def claim(self, worker: UUID, queues: Sequence[Queue], limit: int) -> list[Held]:
        """Return fetched messages, and fetch for ``worker`` what is lacking.

        Raises:
            AlligatorException: What kept a thread from fetching since the last claim.
        """
        names = tuple(queue.name for queue in queues)
        with self._changed:
            taken = self._take(names, limit)
            self._wanted[worker] = (names, min(limit - len(taken), LARGEST_BUFFER))
            error, self._error = self._error, None
            if error is not None and not taken:
                raise error
            for queue in queues:
                source = self._sources.setdefault(queue.name, _Source(queue))
                while source.threads < (PER_QUEUE if source.full else 1):
                    self._start(source)
            self._changed.notify_all()
        return taken

    @property
    def brought(self) -> int:
        """How many requests have brought messages so far, and how many hand-backs have ended."""
        return self._brought

    def bring_more(self, queues: Sequence[Queue], brought: int) -> bool:
        """Return whether anything has come since ``brought`` was asked for, or comes now.

        A message that a request has received already, but not delivered, is in no queue: SQS
        says then that nothing is there. So this waits for what is under way, a long poll that
        nobody answers included.
        """
        names = {None, *(queue.name for queue in queues)}
        with self._changed:
            awaited = {one for one, name in self._journeys.items() if name in names}
            self._changed.wait_for(
                lambda: (
                    self._closed or self._brought != brought or awaited.isdisjoint(self._journeys)
                )
            )
            return self._brought != brought

    def wait(self, timeout: float) -> bool:
        """Wait for messages up to ``timeout`` seconds; hand back what nobody came for."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._news, timeout)
            self._news = False
            oldest = self._buffer[0][0] if self._buffer else None
            if oldest is None or time.monotonic() - oldest <= UNCLAIMED_AFTER:
                return found
            unclaimed = self._give_up()
            journey = self._depart()
        self._return(unclaimed, journey)
        return found

    def drop(self, queue: str) -> list[Held]:
        """Take away and return what was fetched from ``queue``."""
        with self._changed:
            return self._take([queue], len(self._buffer))

    def leave(self, worker: UUID) -> None:
        """Fetch nothing more for ``worker``; with the last one what was fetched goes back."""
        with self._changed:
            self._wanted.pop(worker, None)
            left = [] if self._wanted else self._give_up()
            journey = self._depart()
        self._return(left, journey)

    def close(self) -> None:
        """Hand back what was fetched and end the threads, as soon as their requests do."""
        with self._changed:
            self._closed = True
            left = self._give_up()
            journey = self._depart()
            self._changed.notify_all()
        self._return(left, journey)

    def waiting(self, queue: str) -> int:
        """Return how many messages of ``queue`` were fetched and not claimed yet."""
        with self._changed:
            return sum(held.queue.name == queue for _, held in self._buffer)

    # With the lock held

    def _take(self, names: Sequence[str], limit: int) -> list[Held]:
        taken: list[Held] = []
        for name in names:
            for entry in tuple(self._buffer):
                if len(taken) < limit and entry[1].queue.name == name:
                    self._buffer.remove(entry)
                    taken.append(entry[1])
        if taken:  # there may be room for more
            self._changed.notify_all()
        return taken

    def _give_up(self) -> list[Held]:
        """Empty the buffer, and fetch nothing until the next claim."""
        left = [held for _, held in self._buffer]
        self._buffer.clear()
        self._wanted = {worker: (names, 0) for worker, (names, _) in self._wanted.items()}
        return left

    def _depart(self, name: str | None = None) -> int:
        """Note that messages are under way, of one queue or of any, and return their journey."""
        self._departures += 1
        self._journeys[self._departures] = name
        return self._departures

    def _room(self, name: str) -> int:
        """Return how many messages of a queue the workers lack."""
        lacking = 0
        for names, wanted in self._wanted.values():
            if name in names:
                fetched = sum(held.queue.name in names for _, held in self._buffer)
                lacking += max(0, wanted - fetched)
        return lacking

    def _turn(self, source: _Source) -> tuple[int, int]:
        """Return how many messages a thread may ask for now, and how long it may wait."""
        name = source.queue.name
        room = self._room(name) - source.reserved
        if room <= 0 or (source.reserved and not source.full):
            return 0, 0
        last = True
        for names, wanted in self._wanted.values():
            if name not in names or not wanted:
                continue
            position = names.index(name)
            # A queue is asked only after all before it have been found dry.
            if not all(self._sources[before].dry for before in names[:position]):
                return 0, 0
            last = last and position == len(names) - 1
        return min(room, LARGEST_BATCH), LONG_POLL if last or source.dry else 0

    # The threads

    def _start(self, source: _Source) -> None:
        source.threads += 1
        threading.Thread(
            target=self._run, args=(source,), name="alligator-sqs", daemon=True
        ).start()

    def _run(self, source: _Source) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._turn(source)[0]:
                    self._changed.wait()
                if self._closed:
                    source.threads -= 1
                    return
                count, wait = self._turn(source)
                source.reserved += count
                journey = self._depart(source.queue.name)
            try:
                received = self._receive(source.queue, count, wait)
            except Exception as error:  # the next claim tells; the thread tries on
                self._failed(source, count, error, journey)
            else:
                self._arrived(source, count, received, journey)

    def _arrived(self, source: _Source, count: int, received: Received, journey: int) -> None:
        with self._changed:
            source.reserved -= count
            source.failures = 0
            source.dry = received.number == 0
            source.full = received.number == LARGEST_BATCH
            keep = 0 if self._closed else max(0, self._room(source.queue.name))
            now = time.monotonic()
            self._buffer.extend((now, held) for held in received.held[:keep])
            if received.held[:keep]:
                self._news = True
            self._changed.notify_all()
        self._return(received.held[keep:], journey, brought=received.number > 0)

    def _return(self, held: Sequence[Held], journey: int, *, brought: bool = False) -> None:
        """Let others have ``held``, which ends a journey. Not with the lock held."""
        try:
            self._hand_back(held)
        finally:
            with self._changed:
                self._brought += brought or bool(held)
                del self._journeys[journey]
                self._changed.notify_all()

    def _failed(self, source: _Source, count: int, error: Exception, journey: int) -> None:
        with self._changed:
            source.failures += 1
            source.dry = True  # the other queues go on
            self._error = error
            self._news = True  # so that the worker hears of it
            del self._journeys[journey]
            self._changed.notify_all()
            # The reservation stays, so that no other thread tries meanwhile.
            pause = min(LONGEST_BACKOFF, 0.5 * 2.0 ** min(source.failures, 20))
            self._changed.wait_for(lambda: self._closed, pause)
            source.reserved -= count
