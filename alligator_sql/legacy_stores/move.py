"""Moving the tasks of one queue from a store of Alligator 1.0 to a backend of ours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import options
from ..exceptions import AlligatorException, PayloadError, Unsupported
from ..gator import Gator
from ..messages import Message, Receipt
from .base import Entry, LegacyStore
from .translation import Translator

BATCH = 500
"""Tasks that are read, stored and removed together."""


@dataclass(frozen=True, slots=True)
class Left:
    """A task that stays where it was, and why."""

    task_id: str
    reason: str


class Move:
    """Moves tasks: each is stored in the target first, and removed from the source then.

    Whatever ends it in between, another move finds those tasks stored and only removes them,
    if the target knows its tasks by their ids (``Capabilities.find``).

    Args:
        source: Where the tasks are.
        target: The gator whose store gets them, and whose policy their functions have to pass.
        queue: The queue in the source.
        into: The queue in the target; by default the same name.
        batch: Tasks that are in memory at a time.
        dry_run: Only look, in the source alone: what only the target can tell is not found.

    Raises:
        InvalidOptionError: The target can have no queue of this name.

    Attributes:
        seen: Tasks that were looked at.
        moved: Tasks that the target did not have, or would get.
        delayed: Those of them that are not due yet.
        known: Tasks that the target had already.
        left: Tasks that stay in the source.
        lost: Tasks that somebody took or changed in the source while they were moved.
    """

    def __init__(
        self,
        source: LegacyStore,
        target: Gator,
        queue: str,
        *,
        into: str | None = None,
        batch: int = BATCH,
        dry_run: bool = False,
    ) -> None:
        self.queue = queue
        self.seen = self.moved = self.delayed = self.known = self.left = self.lost = 0
        self._source = source
        self._store = target.store
        self._batch = batch
        self._dry_run = dry_run
        self._translator = Translator(
            options.check_queue(queue if into is None else into), target.store, target.policy
        )

    def run(self) -> Iterator[list[Left]]:
        """Move batch by batch, and yield after each which of its tasks stay.

        Raises:
            StoreUnavailableError: A store does not answer.
        """
        for page in self._source.pages(self.queue, self._batch):
            left: list[Left] = []
            ready: list[tuple[Entry, Message]] = []
            for entry in page:
                try:
                    ready.append((entry, self._translator.message_of(entry, self.seen)))
                except AlligatorException as error:
                    left.append(Left(entry.task_id.decode(errors="replace"), str(error)))
                self.seen += 1
            if self._dry_run:
                for _, message in ready:
                    self._count(message)
            elif ready:
                left += self._carry_over(ready)
            self.left += len(left)
            yield left

    def _carry_over(self, ready: Sequence[tuple[Entry, Message]]) -> list[Left]:
        left: list[Left] = []
        stored: list[Entry] = []
        for entry, message, receipt in self._enqueue(ready, left):
            if not receipt.duplicate:
                self._count(message)
            elif reason := self._difference(message):
                left.append(Left(message.task_id, reason))
                continue
            else:
                self.known += 1
            stored.append(entry)
        self.lost += len(stored) - self._source.remove(self.queue, stored)
        return left

    def _enqueue(
        self, ready: Sequence[tuple[Entry, Message]], left: list[Left]
    ) -> list[tuple[Entry, Message, Receipt]]:
        """Store a batch; task by task where only the target can tell that it refuses one."""
        try:
            receipts = self._store.enqueue([message for _, message in ready])
        except (PayloadError, Unsupported) as error:  # which say that nothing was stored
            if len(ready) > 1:
                return [one for each in ready for one in self._enqueue([each], left)]
            left += [Left(message.task_id, str(error)) for _, message in ready]
            return []
        return [(*each, receipt) for each, receipt in zip(ready, receipts, strict=True)]

    def _count(self, message: Message) -> None:
        self.moved += 1
        self.delayed += message.due.absolute

    def _difference(self, message: Message) -> str:
        """Say how the task that the target has differs from the one that was to move."""
        # In Alligator's SQLite tables an id of the user's own may be in several queues.
        if not self._store.capabilities.find:
            return ""
        known = self._store.find(message.task_id)
        if known is None or (known.queue, known.func) == (message.queue, message.func):
            return ""
        return f"The target knows another task by this id: {known.func!r} in {known.queue!r}."
