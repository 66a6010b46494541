"""Making outcomes last: what is deleted, sent anew or handed back.

A message cannot be changed, so a task that lives on with another payload or count goes into
a new message, and the old one is deleted after that. A process that dies in between leaves
both: the task runs twice, and is never lost.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from ...clock import Clock
from ...exceptions import AlligatorException, PayloadError
from ...messages import Failure
from ...outcomes import (
    Canceled,
    Failed,
    Outcome,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)
from .batches import Batches, Letter, letter
from .envelopes import Envelope
from .errors import GONE
from .holding import Held, Holding, MessageClaim, by_queue
from .queues import Queue, Queues

logger = logging.getLogger(__name__)

LONGEST_ERROR = 1024
"""Bytes of an error's text that a dead letter keeps, and below that of its traceback."""
LONGEST_TRACEBACK = 8 * 1024
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML, and so SQS, has no character for."""


class Settler:
    """Stores outcomes.

    Args:
        batches: What sends, deletes and hides.
        queues: Where the dead-letter queues are found.
        holding: What this process holds.
        clock: The clock of this machine.
    """

    def __init__(self, batches: Batches, queues: Queues, holding: Holding, clock: Clock) -> None:
        self._batches = batches
        self._queues = queues
        self._holding = holding
        self._clock = clock

    def settle(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Store outcomes, and return the ids of the tasks that were held and for which SQS did.

        Raises:
            AlligatorException: Some could not be stored, all others were. The same settlements
                may be given again: what is stored is not stored twice.
        """
        held = [
            (settlement.claim.held, settlement)
            for settlement in settlements
            if isinstance(settlement.claim, MessageClaim)
            and self._holding.holds(settlement.claim.held)
        ]
        todo = [(one, settlement.outcome) for one, settlement in held if not one.settled]
        errors = _Errors()
        self._forward(todo, errors)
        self._delete([one for one, outcome in todo if _ends(one, outcome)], errors)
        self._hand_back([one for one, outcome in todo if isinstance(outcome, Released)], errors)
        errors.raise_first()
        self._holding.forget(one for one, _ in held)
        return {settlement.claim.id for one, settlement in held if one.settled}

    def hand_back(self, held: Sequence[Held]) -> None:
        """Let others receive these messages at once, or after their time where SQS fails."""
        self._hand_back(held, _Errors())
        self._holding.forget(held)

    def forward(self, held: Sequence[tuple[Held, float]]) -> None:
        """Send messages on that came before they were due, each with the seconds that are left.

        Raises:
            AlligatorException: Some could not be sent on; they come back by themselves.
        """
        errors = _Errors()
        self._send([(one, one.queue, self._again(one, delay)) for one, delay in held], errors)
        self._delete([one for one, _ in held if one.replaced], errors)
        self._holding.forget(one for one, _ in held)
        errors.raise_first()

    def _hand_back(self, held: Sequence[Held], errors: "_Errors") -> None:
        # What is not hidden any more may be with others: not ours to show.
        hidden = [one for one in held if self._holding.is_hidden(one)]
        # A message has only so many receives: those that were handed back must not use them up.
        worn = [one for one in hidden if one.receives > 1 and _has_limited_receives(one.queue)]
        fresh = [(one, one.queue, self._again(one, 0.0)) for one in worn if not one.replaced]
        self._send(fresh, _Errors())
        self._delete([one for one in hidden if one.replaced], errors)
        shown = [one for one in hidden if not one.replaced]
        for one in shown:
            one.settled = True  # before others, or this process, receive it again
        for queue, group in by_queue(shown, lambda one: one.queue):
            results = self._batches.hide(queue, [one.handle for one in group], 0)
            for one, refused in zip(group, results, strict=True):
                if refused is not None and not refused.final:
                    one.settled = False
                    errors.add(refused.error)

    def _forward(self, todo: Sequence[tuple[Held, Outcome]], errors: "_Errors") -> None:
        """Send what lives on, and what is to be kept among the dead letters."""
        letters: list[tuple[Held, Queue, Letter]] = []
        for one, outcome in todo:
            if one.replaced:
                continue
            try:
                sent = self._successor(one, outcome)
            except AlligatorException as error:
                errors.add(error)
                continue
            if sent is not None:
                letters.append((one, *sent))
        self._send(letters, errors)

    def _successor(self, held: Held, outcome: Outcome) -> tuple[Queue, Letter] | None:
        match outcome:
            case Retry(delay=delay, payload=payload):
                attempts = held.envelope.attempts + 1
                again = self._again(held, delay, payload=payload, attempts=attempts)
            case Snoozed(delay=delay):
                again = self._again(held, delay)
            case Failed(failure=failure, started=started):
                dead_letters = self._queues.dead_letters_of(held.queue)
                if dead_letters is None:
                    logger.warning(
                        "task %s has failed and is gone: the queue %s has no dead-letter queue",
                        held.envelope.id,
                        held.queue.name,
                    )
                    return None
                envelope = replace(
                    held.envelope,
                    attempts=held.envelope.attempts + started,
                    age=self._age(held),
                )
                return dead_letters, _dead_letter(envelope, failure, dead_letters)
            case _:
                return None
        if again.size > held.queue.largest:
            raise PayloadError(
                f"Task {held.envelope.id} takes {again.size} bytes now, a message in the queue "
                f"{held.queue.name} may have {held.queue.largest}."
            )
        return held.queue, again

    def _again(self, held: Held, delay: float, **changes: object) -> Letter:
        envelope = replace(
            held.envelope,
            sends=held.envelope.sends + 1,
            age=self._age(held),
            **changes,  # type: ignore[arg-type]
        )
        return letter(envelope, delay, held.queue)

    def _age(self, held: Held) -> float:
        return held.age + self._clock.monotonic() - held.received

    def _send(self, letters: Sequence[tuple[Held, Queue, Letter]], errors: "_Errors") -> None:
        for queue, group in by_queue(letters, lambda one: one[1]):
            results = self._batches.send(queue, [sent for _, _, sent in group])
            for (held, _, _), refused in zip(group, results, strict=True):
                if refused is None:
                    held.replaced = True
                else:
                    errors.add(refused.error)

    def _delete(self, held: Sequence[Held], errors: "_Errors") -> None:
        for queue, group in by_queue(held, lambda one: one.queue):
            results = self._batches.delete(queue, [one.handle for one in group])
            for one, refused in zip(group, results, strict=True):
                if refused is None or refused.code in GONE:
                    one.settled = True
                elif refused.final:  # another one holds it by now
                    self._holding.forget([one])
                else:
                    errors.add(refused.error)


class _Errors:
    """What went wrong with some while the others went on."""

    def __init__(self) -> None:
        self._first: AlligatorException | None = None

    def add(self, error: AlligatorException) -> None:
        self._first = self._first or error

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first


def _ends(held: Held, outcome: Outcome) -> bool:
    """Whether the message may be deleted: its task has ended, or is safe elsewhere."""
    match outcome:
        case Succeeded() | Canceled():  # nobody is to run a canceled one from the dead letters
            return True
        case Failed():
            return held.replaced or held.queue.dead_letters is None
        case Released():
            return False
    return held.replaced


def _has_limited_receives(queue: Queue) -> bool:
    """Whether handing back often would move a sound task to the dead letters.

    In a FIFO queue a new message would lose its place.
    """
    return queue.dead_letters is not None and not queue.fifo


def _dead_letter(envelope: Envelope, failure: Failure, queue: Queue) -> Letter:
    """Return a task that has failed, with as much of the reason as fits beside it."""
    dead = letter(replace(envelope, sends=envelope.sends + 1), 0.0, queue)
    for name, text, longest in (
        ("Reason", failure.reason or "failed", LONGEST_ERROR),
        ("Error", f"{failure.kind}: {failure.message}", LONGEST_ERROR),
        ("Traceback", failure.traceback, LONGEST_TRACEBACK),
    ):
        room = queue.largest - dead.size - len(name) - len("String")
        value = _legal(text).encode()[: max(0, min(room, longest))].decode(errors="ignore")
        if value:  # SQS refuses an empty one
            dead.attributes[name] = value
    return dead


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
