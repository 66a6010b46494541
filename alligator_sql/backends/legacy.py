"""Clients written for Alligator 1.0: five methods, passed as ``backend_class``.

Such a client gives a task away when it hands it out, so a crash loses it: the adapter
declares almost no capability.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol
from uuid import UUID

from ..clock import SYSTEM_CLOCK
from ..exceptions import Unsupported
from ..ids import id_of, new_id
from ..messages import Claim, Message, Payload, Receipt, WorkerRecord
from ..outcomes import Released, Retry, Settlement, Snoozed
from .base import CAN_ALL_ELSE, CAN_JOIN, Backend
from .capabilities import Capabilities


class LegacyClient(Protocol):
    """What Alligator 1.0 asks of a backend."""

    def len(self, queue_name: str) -> int:
        """Return how many tasks wait."""

    def drop_all(self, queue_name: str) -> None:
        """Remove all tasks."""

    @property
    def push(self) -> Callable[..., str | None]:
        """Store a task and return its id: ``push(queue_name, task_id, data, delay_until=None)``.

        ``delay_until`` may be lacking.
        """

    def pop(self, queue_name: str) -> Payload | None:
        """Remove the first task that is due and return it."""

    def get(self, queue_name: str, task_id: str) -> Payload | None:
        """Remove one task and return it."""


class LegacyBackend(Backend):
    """Makes a client of Alligator 1.0 look like a backend."""

    name: ClassVar[str] = "legacy"
    capabilities: ClassVar[Capabilities] = Capabilities(claim_by_id=True, cancel=True)

    def __init__(self, client: LegacyClient) -> None:
        self.client = client

    def open(self) -> None:
        """Do nothing: the client connects as it likes."""

    def close(self) -> None:
        """Do nothing: Alligator 1.0 has no such method."""

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Push messages one by one."""
        if connection is not None:
            raise self.cannot("join a transaction", CAN_JOIN)
        receipts = []
        for message in messages:
            self._refuse_options(message)
            delay = message.due.seconds
            due = delay if message.due.absolute else SYSTEM_CLOCK.now() + delay
            task_id = self._push(
                message.queue, message.task_id, message.payload, due if delay else None
            )
            receipts.append(Receipt(message.id, task_id=task_id))
        return receipts

    def _refuse_options(self, message: Message) -> None:
        for option in ("priority", "expires", "unique_key", "tags"):
            if getattr(message, option):
                raise self.cannot(f"honour the option {option!r}", CAN_ALL_ELSE)

    def _push(self, queue: str, task_id: str, payload: Payload, due: float | None) -> str | None:
        if due is None:
            return self.client.push(queue, task_id, payload)
        if self.capabilities.delay:
            return self.client.push(queue, task_id, payload, delay_until=due)
        raise Unsupported(
            f"{type(self.client).__name__}.push() has no delay_until, so it cannot delay tasks."
        )

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
        """Put back what is to run again, then pop; ``thorough`` or not, it looks everywhere."""
        self.ack(settlements)
        claims: list[Claim] = []
        for queue in queues:
            while len(claims) < limit and (payload := self.client.pop(queue)):
                claims.append(_claim(queue, _task_id(payload), payload, worker))
        return claims

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Take one task out of its queue."""
        payload = self.client.get(queue, task_id)
        return _claim(queue, task_id, payload, worker) if payload else None

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Push what is to run again; the rest is gone already."""
        for claim, outcome in ((one.claim, one.outcome) for one in settlements):
            if isinstance(outcome, Retry):
                self._push_again(claim.queue, outcome.payload, outcome.delay)
            elif isinstance(outcome, Snoozed) and claim.payload is not None:
                self._push_again(claim.queue, claim.payload, outcome.delay)
            elif isinstance(outcome, Released) and claim.payload is not None:
                self._push_again(claim.queue, claim.payload, 0.0)
        return {one.claim.id for one in settlements}

    def _push_again(self, queue: str, payload: Payload, delay: float) -> None:
        due = SYSTEM_CLOCK.now() + delay if delay and self.capabilities.delay else None
        self._push(queue, _task_id(payload), payload, due)

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Do nothing: there are no leases."""
        return True

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """Do nothing: there are no leases."""

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Refuse: the client has nothing to listen to, the worker polls."""
        raise self.cannot("wake a worker")

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return None: nobody knows."""
        return None

    def len(self, queue: str) -> int:
        """Return how many tasks wait."""
        return self.client.len(queue)

    def drop_all(self, queue: str) -> None:
        """Remove all tasks."""
        self.client.drop_all(queue)

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """Take one task out of its queue and return it."""
        return self.client.get(queue, task_id)


class DelayingLegacyBackend(LegacyBackend):
    """The same for a client whose ``push`` takes ``delay_until``."""

    capabilities: ClassVar[Capabilities] = replace(LegacyBackend.capabilities, delay=True)


def adapt(client: LegacyClient) -> LegacyBackend:
    """Return ``client`` as a backend that can do what the client can."""
    parameters = inspect.signature(client.push).parameters.values()
    delays = any(
        parameter.name == "delay_until" or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    )
    return DelayingLegacyBackend(client) if delays else LegacyBackend(client)


def _claim(queue: str, task_id: str, payload: Payload, worker: UUID) -> Claim:
    return Claim(
        id=id_of(task_id),
        queue=queue,
        func="",
        payload=payload,
        lease=0,
        worker=worker,
        attempts=1,
        crashes=0,
        age=0.0,
    )


def _task_id(payload: Payload) -> str:
    """Read the id from a payload, which the client did not keep apart."""
    try:
        return str(json.loads(payload)["task_id"])
    except (ValueError, TypeError, KeyError):
        return str(new_id())  # a task class with a format of its own
