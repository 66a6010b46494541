"""Requests for up to ten messages at once, of which SQS may refuse some and take the others."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ... import jitter
from ...exceptions import AlligatorException, StoreUnavailableError
from .envelopes import Envelope
from .errors import bare, refusal
from .queues import Queue
from .service import Service

LARGEST_BATCH = 10
LONGEST_DELAY = 900
"""Seconds that SQS itself can delay a message."""
ATTEMPTS = 5
"""How often an entry is sent that SQS could not take for reasons of its own."""
FIRST_PAUSE = 0.1


@dataclass(slots=True)
class Letter:
    """An envelope on its way to a queue.

    Attributes:
        delay: Whole seconds for which SQS hides it.
        attributes: Texts that travel beside the body.
    """

    body: str
    deduplication_id: str
    delay: int = 0
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """What SQS counts: the body, and names, types and values of the attributes."""
        beside = sum(
            len(name) + len("String") + len(value.encode())
            for name, value in self.attributes.items()
        )
        return len(self.body) + beside


def letter(envelope: Envelope, delay: float, queue: Queue) -> Letter:
    """Return ``envelope``, due in ``delay`` seconds, as it is sent to ``queue``."""
    if queue.fifo:
        by_sqs, by_us = 0, delay
    elif delay > LONGEST_DELAY:
        by_sqs, by_us = LONGEST_DELAY, delay
    else:
        by_sqs, by_us = math.ceil(max(0.0, delay)), 0.0
    body = replace(envelope, delay=by_us).dumps()
    return Letter(body, envelope.deduplication_id, by_sqs)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why SQS did not do with one message what it was told.

    Attributes:
        error: The error of ours.
        code: The error code of that entry; empty when the whole request failed.
        final: Whether trying again is of no use for this one message.
    """

    error: AlligatorException
    code: str = ""
    final: bool = False


Results = list[Refusal | None]
"""What became of the entries, in their order: None where SQS did as it was told."""


class Batches:
    """Sends, deletes and hides messages in batches.

    Entries that SQS failed to take are tried again, only those, with growing pauses; what it
    calls the sender's fault is final. No method raises: each tells what became of the entries.

    Args:
        service: What calls SQS.
        pause: How to wait some seconds.
    """

    def __init__(self, service: Service, pause: Callable[[float], None] = time.sleep) -> None:
        self._service = service
        self._pause = pause

    def send(self, queue: Queue, letters: Sequence[Letter]) -> Results:
        """Store messages."""
        entries = [self._entry(queue, one) for one in letters]
        sizes = [one.size for one in letters]
        return self._run("send_message_batch", queue, entries, split(sizes, queue.largest))

    def delete(self, queue: Queue, handles: Sequence[str]) -> Results:
        """Remove messages that are held."""
        entries = [{"ReceiptHandle": handle} for handle in handles]
        return self._run("delete_message_batch", queue, entries, split([0] * len(entries)))

    def hide(self, queue: Queue, handles: Sequence[str], seconds: int) -> Results:
        """Hide messages that are held for ``seconds`` from now; 0 hands them back."""
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": seconds} for handle in handles]
        batches = split([0] * len(entries))
        return self._run("change_message_visibility_batch", queue, entries, batches)

    @staticmethod
    def _entry(queue: Queue, one: Letter) -> dict[str, Any]:
        entry: dict[str, Any] = {"MessageBody": one.body}
        if queue.fifo:
            entry["MessageGroupId"] = queue.group
            entry["MessageDeduplicationId"] = one.deduplication_id
        else:
            # 0 too: the queue may have a delay of its own
            entry["DelaySeconds"] = one.delay
        if one.attributes:
            entry["MessageAttributes"] = {
                name: {"DataType": "String", "StringValue": value}
                for name, value in one.attributes.items()
            }
        return entry

    def _run(
        self,
        operation: str,
        queue: Queue,
        entries: Sequence[dict[str, Any]],
        batches: Iterable[range],
    ) -> Results:
        results: Results = [None] * len(entries)
        down: Refusal | None = None
        for batch in batches:
            if down is not None:
                results[batch.start : batch.stop] = [down] * len(batch)
                continue
            for index, refused in self._run_batch(operation, queue, entries, batch).items():
                results[index] = refused
                if not refused.code and isinstance(refused.error, StoreUnavailableError):
                    down = refused
        return results

    def _run_batch(
        self, operation: str, queue: Queue, entries: Sequence[dict[str, Any]], batch: range
    ) -> dict[int, Refusal]:
        """Return the errors of one batch by the index of their entries."""
        final: dict[int, Refusal] = {}
        left: dict[int, Refusal] = {}
        waiting = list(batch)
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(jitter.uniform(0.0, FIRST_PAUSE * 2.0**attempt))
            try:
                answer = self._service.call(
                    operation,
                    queue.name,
                    QueueUrl=queue.url,
                    Entries=[{"Id": str(index), **entries[index]} for index in waiting],
                )
            except AlligatorException as trouble:  # SQS may have taken the others before
                left = dict.fromkeys(waiting, Refusal(trouble))
                break
            left = {}
            for failure in answer.get("Failed", ()):
                index = int(failure["Id"])
                is_final = bool(failure.get("SenderFault"))
                code, text = str(failure.get("Code", "")), str(failure.get("Message", ""))
                error = refusal(
                    code, text, self._service.settings, queue.name, temporary=not is_final
                )
                (final if is_final else left)[index] = Refusal(error, bare(code), is_final)
            waiting = sorted(left)
            if not waiting:
                break
        return final | left


def split(sizes: Sequence[int], largest: int = 1) -> Iterator[range]:
    """Yield the ranges of entries that fit into one request each.

    Args:
        sizes: The bytes of each entry.
        largest: The bytes that one request may have; a larger entry goes alone.
    """
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start == LARGEST_BATCH or total + size > largest):
            yield range(start, index)
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))
