"""Receiving messages, and what becomes of those that are no tasks, or not due yet."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from ...clock import Clock
from ...exceptions import AlligatorException
from . import envelopes
from .batches import Batches
from .holding import Held, Holding
from .queues import Queue
from .service import Service
from .settling import Settler

logger = logging.getLogger(__name__)

LONGEST_FIFO_WAIT = 11 * 3600
"""Seconds for which a FIFO queue hides a message that is not due, well below the limit."""
REMEMBERED = 10_000
"""Foreign messages that are remembered, so that each is logged once."""


class Received(NamedTuple):
    """What one request brought: how many messages, and the tasks among them that are due."""

    number: int
    held: list[Held]


class Reception:
    """Receives messages.

    Args:
        service: What calls SQS.
        batches: What hides.
        settler: What sends on.
        holding: Where received messages are noted.
        clock: The clock of this machine.
        visibility: Tells for how many seconds SQS is to hide what is received.
    """

    def __init__(
        self,
        service: Service,
        batches: Batches,
        settler: Settler,
        holding: Holding,
        clock: Clock,
        visibility: Callable[[], int],
    ) -> None:
        self._service = service
        self._batches = batches
        self._settler = settler
        self._holding = holding
        self._clock = clock
        self._visibility = visibility
        self._foreign: OrderedDict[str, None] = OrderedDict()

    def receive(self, queue: Queue, limit: int, wait: int) -> Received:
        """Receive up to ``limit`` messages, at most ten, waiting up to ``wait`` seconds.

        Raises:
            StoreUnavailableError: SQS does not answer or refuses us.
            SchemaError: The queue is gone.
        """
        visibility = self._visibility()
        answer = self._service.call(
            "receive_message",
            queue.name,
            QueueUrl=queue.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageSystemAttributeNames=[
                "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SentTimestamp",
            ],
        )  # fmt: skip
        messages = answer.get("Messages", [])
        due: list[Held] = []
        early: list[tuple[Held, float]] = []
        for message in messages:
            held = self._held(queue, message, visibility)
            if held is None or not self._holding.add(held.one):
                continue
            if held.early > 0:
                early.append((held.one, held.early))
            else:
                due.append(held.one)
        if early:
            self._put_off(queue, early)
        return Received(len(messages), due)

    def _held(self, queue: Queue, message: dict[str, Any], visibility: int) -> "_Arrival | None":
        try:
            envelope = envelopes.loads(message["Body"])
        except ValueError as error:
            self._leave(queue, message["MessageId"], error)
            return None
        attributes = message["Attributes"]
        sent = int(attributes["SentTimestamp"]) / 1000
        receives = int(attributes["ApproximateReceiveCount"])
        # By the clock of SQS: exact at the first receipt, to a second at later ones.
        now = int(attributes["ApproximateFirstReceiveTimestamp"]) / 1000
        if receives > 1:
            now = max(now, self._service.now())
        received = self._clock.monotonic()
        held = Held(
            queue=queue,
            message_id=message["MessageId"],
            handle=message["ReceiptHandle"],
            envelope=envelope,
            receives=receives,
            age=envelope.age + max(0.0, now - sent),
            received=received,
            until=received + visibility,
        )
        return _Arrival(held, envelope.delay and sent + envelope.delay - now)

    def _leave(self, queue: Queue, message_id: str, error: ValueError) -> None:
        """Leave a message that is none of ours to the redrive policy of its queue."""
        if message_id in self._foreign:
            return
        self._foreign[message_id] = None
        if len(self._foreign) > REMEMBERED:
            self._foreign.popitem(last=False)
        logger.error(
            "message %s in the queue %s is no task and stays there: %s",
            message_id,
            queue.name,
            error,
        )

    def _put_off(self, queue: Queue, early: list[tuple[Held, float]]) -> None:
        if queue.fifo:  # a FIFO queue delays no single message, so the queue waits
            for held, rest in early:
                seconds = min(int(rest) + 1, LONGEST_FIFO_WAIT)
                self._batches.hide(queue, [held.handle], seconds)
            self._holding.forget(held for held, _ in early)
            return
        try:
            self._settler.forward(early)
        except AlligatorException as error:
            logger.warning("cannot put off delayed tasks, they come back: %s", error)


class _Arrival(NamedTuple):
    """A message, and the seconds for which it came too early."""

    one: Held
    early: float
