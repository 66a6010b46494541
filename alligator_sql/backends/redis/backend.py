"""Tasks in Redis or Valkey: sorted sets and hashes, changed by scripts in the server only.

Every change is one script, so it happens wholly or not at all, on the clock of the server.
What the server has acknowledged is as durable as its persistence: with an append-only file
that is synced every second, a crash of the machine may lose that second.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, ClassVar, Final
from uuid import UUID

from redis.exceptions import RedisError

from ...exceptions import QueueFull, UnknownTaskError
from ...ids import id_of
from ...messages import (
    Claim,
    Ending,
    Message,
    Payload,
    Progress,
    Receipt,
    TaskRecord,
    WorkerRecord,
)
from ...outcomes import Settlement
from ..base import CAN_JOIN, DAY, Backend
from ..capabilities import Capabilities
from . import keys, records
from .checks import check
from .connections import Command, Connections
from .listeners import Listener
from .scripts import Call, Scripts

logger = logging.getLogger(__name__)

BATCH: Final = 1000
"""Tasks that one run of a script stores, rescues, prunes or drops: others wait meanwhile."""
LARGEST_BATCH: Final = 16 * 1024 * 1024
"""Bytes of payloads that one run of a script stores."""
FULL_CHECK: Final = 300.0
"""Seconds between two looks for running tasks whose worker nobody knows."""
SUBSCRIBING: Final = 5.0
"""Seconds that a subscription may take."""
LOOK: Final = 1.0
"""Seconds between two looks whether an awaited task has ended, should its message be lost."""


class RedisBackend(Backend):
    """Tasks in Redis ≥ 6.2 or Valkey.

    A task id is known once per queue, not once for all queues.

    Args:
        conn_string: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or
            ``unix:///run/redis.sock?db=0``.

    Raises:
        InvalidOptionError: The connection string names something that cannot be.
    """

    name: ClassVar[str] = "Redis"
    capabilities: ClassVar[Capabilities] = Capabilities(
        lease=True,
        fence=True,
        order=True,
        delay=True,
        priority=True,
        expires=True,
        unique_key=True,
        claim_by_id=True,
        cancel=True,
        interrupt=True,
        progress=True,
        find=True,
        retry=True,
        pause=True,
        results=True,
        retention=True,
        wake=True,
        cross_process=True,
    )
    keep_failed: ClassVar[float] = DAY  # memory is dearer than disk

    def __init__(self, conn_string: str) -> None:
        self.connections = Connections(conn_string)
        self._scripts = Scripts(self.connections)
        self._opening = threading.Lock()
        self._opened = False
        self._used: set[str] = set()
        self._announced: set[str] = set()
        self._queues_of: dict[UUID, tuple[str, ...]] = {}
        self._local = threading.local()

    def open(self) -> None:
        """Look at the settings of the server, once.

        Raises:
            UnsafeStoreError: It would drop tasks when its memory is full.
        """
        with self._opening:
            if not self._opened:
                check(self.connections)
                self._opened = True

    def close(self) -> None:
        """Close all connections."""
        self.unlisten()
        self.connections.close()

    # Enqueueing

    def enqueue(self, messages: Sequence[Message], connection: Any = None) -> list[Receipt]:
        """Store messages, those of each queue all or none; sent again when the answer is lost.

        Messages for several queues are not one atom: the queues are apart on a cluster, so they
        are filled one after the other, and an error leaves the former ones filled. It is safe to
        enqueue all of them again.

        Raises:
            QueueFull: The server has no memory left.
        """
        if connection is not None:
            raise self.cannot("join a transaction", CAN_JOIN)
        queues: dict[str, list[Message]] = {}
        for message in messages:
            queues.setdefault(message.queue, []).append(message)
        self._announce(queues)
        if len(queues) == 1:
            return self._enqueue(messages[0].queue, messages)
        receipts = {queue: iter(self._enqueue(queue, queues[queue])) for queue in queues}
        return [next(receipts[message.queue]) for message in messages]

    def _enqueue(self, queue: str, messages: Sequence[Message]) -> list[Receipt]:
        calls = []
        for batch in _batches(messages):
            arguments = [one for message in batch for one in records.arguments_of(message)]
            calls.append(Call("enqueue", queue, arguments))
        repeated: list[Exception] = []
        answers = self._scripts.run_all(calls, atomic=len(calls) > 1, repeated=repeated.append)
        return [
            _receipt(message, answer, sent_before=bool(repeated))
            for message, answer in zip(messages, chain.from_iterable(answers), strict=True)
        ]

    def _announce(self, queues: Iterable[str]) -> None:
        """Make sure that the names of ``queues`` are known, and the server is fit for them."""
        fresh = {queue for queue in queues if queue not in self._announced}
        if fresh:
            self.open()
            self._used |= fresh
            self._send([("SADD", keys.QUEUES, *fresh)])
            self._announced |= fresh

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
        """Acknowledge and claim in one round trip for the first queue, one for each further one.

        ``thorough`` or not, it looks everywhere. What was claimed and never heard of, because
        the connection broke, is handed back by :meth:`reconcile`.
        """
        acks = list(_acks(settlements))
        claims: list[Claim] = []
        for queue in queues:
            if len(claims) >= limit:
                break
            arguments = (worker.hex, str(limit - len(claims)), "1" if begins else "")
            claim = Call("claim", queue, arguments)
            *acked, claimed = self._scripts.run_all([*acks, claim], repeatable=False)
            if acks:
                self._applied(settlements, acked)
                acks = []
            claims += self._claims(claimed, queue, worker)
        return claims

    def _claims(self, answers: Iterable[Any], queue: str, worker: UUID) -> Iterator[Claim]:
        for answer in answers:
            claim = records.claim_of(answer, queue, worker)
            if claim is None:
                logger.error("dropped %r from queue %s: it is no task of ours", answer[0], queue)
            else:
                yield claim

    def claim_one(self, queue: str, task_id: str, worker: UUID) -> Claim | None:
        """Hold one waiting task, which begins at once."""
        arguments = (worker.hex, id_of(task_id).hex)
        answer = self._scripts.run(Call("claim_one", queue, arguments), repeatable=False)
        return None if answer is None else records.claim_of(answer, queue, worker)

    def ack(self, settlements: Sequence[Settlement]) -> set[UUID]:
        """Persist outcomes, those of each queue together."""
        return self._applied(settlements, self._scripts.run_all(list(_acks(settlements))))

    def begin(self, claims: Sequence[Claim]) -> set[UUID]:
        """Note that suspects start."""
        grouped: dict[tuple[str, UUID], list[str]] = {}
        for claim in claims:
            fences = grouped.setdefault((claim.queue, claim.worker), [claim.worker.hex])
            fences += (claim.id.hex, str(claim.lease))
        calls = [Call("begin", queue, fences) for (queue, _), fences in grouped.items()]
        return _uuids(self._scripts.run_all(calls))

    # Leases

    def heartbeat(self, worker: WorkerRecord, *, first: bool = False) -> bool:
        """Begin or renew the lease of a worker in each of its queues."""
        self._announced -= set(worker.queues)  # the server may have lost their names
        with suppress(QueueFull):  # who is to empty it needs no name for that
            self._announce(worker.queues)
        self._queues_of[worker.id] = worker.queues
        origin = records.origin_of(worker) if first else ""
        arguments = (worker.id.hex, records.milliseconds(worker.ttl), origin)
        calls = [Call("heartbeat", queue, arguments) for queue in worker.queues]
        return all(self._scripts.run_all(calls))

    def leave(self, worker: UUID, *, holds: bool) -> None:
        """End a lease."""
        arguments = (worker.hex, "1" if holds else "")
        self._run_in_queues_of(worker, "leave", arguments)
        self._queues_of.pop(worker, None)

    def reconcile(self, worker: UUID, held: Collection[UUID]) -> list[UUID]:
        """Hand back what a worker does not know that it holds."""
        arguments = (worker.hex, *(task_id.hex for task_id in held))
        return list(_uuids(self._run_in_queues_of(worker, "reconcile", arguments)))

    def _run_in_queues_of(
        self, worker: UUID, script: str, arguments: Sequence[str | bytes]
    ) -> list[Any]:
        """Run a script in each of the queues that ``worker`` has a lease in."""
        queues = self._queues_of.get(worker, ())
        return self._scripts.run_all([Call(script, queue, arguments) for queue in queues])

    def rescue(self, max_crashes: int) -> list[UUID]:
        """Take back the tasks of dead workers, in the queues that this process has used."""
        arguments = (str(max_crashes), str(BATCH), records.milliseconds(FULL_CHECK))
        rescued: list[UUID] = []
        for queue in sorted(self._used):
            more = True
            while more:
                answer = self._scripts.run(Call("rescue", queue, arguments))
                rescued += map(_uuid, answer)
                more = len(answer) == BATCH
        return rescued

    # History

    def prune(self, keep_success: float, keep_failed: float) -> int:
        """Remove the history that is old enough, in the queues that this process has used."""
        keeps = (records.milliseconds(keep_success), records.milliseconds(keep_failed))
        return sum(self._repeat("prune", queue, *keeps) for queue in sorted(self._used))

    def drop_all(self, queue: str) -> None:
        """Remove the waiting tasks of a queue."""
        self._repeat("drop", queue)

    def _repeat(self, script: str, queue: str, *arguments: str) -> int:
        """Run a script that does a batch until there is nothing left, and return the sum."""
        total = 0
        while True:
            done: int = self._scripts.run(Call(script, queue, (*arguments, str(BATCH))))
            total += done
            if done < BATCH:
                return total

    # Waiting

    def listen(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait for a message; a new subscription counts as one, for what it may have missed."""
        listener: Listener | None = getattr(self._local, "listener", None)
        if listener is None:
            channels = [keys.wake_channel(queue) for queue in queues]
            listener = Listener(self.connections, channels)
            self._local.listener = listener
            listener.confirm(SUBSCRIBING)
            self._scripts.run_all([Call("idle", queue) for queue in queues])
            return True
        try:
            return listener.wait(timeout)
        except Exception:
            self.unlisten()
            raise

    def unlisten(self) -> None:
        """Close the subscription of the calling thread."""
        listener: Listener | None = getattr(self._local, "listener", None)
        if listener is not None:
            listener.close()
            self._local.listener = None

    def due_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until the next task that is not due yet."""
        answers = self._scripts.run_all([Call("due", queue) for queue in queues])
        return min((answer / 1000 for answer in answers if answer is not None), default=None)

    # What operators ask

    def len(self, queue: str) -> int:
        """Return how many tasks of a queue wait."""
        return int(self._scripts.run(Call("len", queue)))

    def cancel(self, queue: str, task_id: str) -> Payload | None:
        """End a waiting task as canceled, or mark a running one and wake its worker."""
        call = Call("cancel", queue, (id_of(task_id).hex,))
        answer = self._scripts.run(call, repeatable=False)
        if answer is None:
            return None
        payload, binary = answer
        return records.decode(payload or b"", binary)

    def canceled(self, worker: UUID, held: Collection[UUID]) -> set[UUID]:
        """Return which of these tasks are marked."""
        return _uuids(self._run_in_queues_of(worker, "canceled", (worker.hex,))) & set(held)

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
        """Keep what running tasks say of their progress."""
        arguments: records.Arguments = [worker.hex]
        for task_id, said in progress.items():
            arguments += (task_id.hex, str(said.percent), records.encode(said.message))
        self._run_in_queues_of(worker, "report", arguments)

    def retry(self, queue: str, task_id: str) -> bool:
        """Let an ended task wait again."""
        call = Call("retry", queue, (id_of(task_id).hex,))
        return bool(self._scripts.run(call, repeatable=False))

    def pause(self, queue: str) -> None:
        """Pause a queue."""
        self._announce([queue])
        self._scripts.run(Call("pause", queue, ("1",)))

    def resume(self, queue: str) -> None:
        """End a pause."""
        self._scripts.run(Call("pause", queue, ("",)))

    def is_paused(self, queue: str) -> bool:
        """Return whether a queue is paused."""
        [answer] = self._send([("HEXISTS", keys.of(queue).queue, "paused")])
        return bool(answer)

    def find(self, task_id: str) -> TaskRecord | None:
        """Return what is known about a task, in whichever queue it is."""
        uuid = id_of(task_id)
        queues = self._queues()
        found = self._send([("HGETALL", keys.task(queue, uuid.hex)) for queue in queues])
        for queue, answer in zip(queues, found, strict=True):
            if answer:
                return records.record_of(
                    uuid, queue, dict(zip(answer[::2], answer[1::2], strict=True))
                )
        return None

    def ending(self, task_id: str, timeout: float) -> Ending | None:
        """Wait for the end of a task."""
        uuid = id_of(task_id)
        unknown = UnknownTaskError(f"No task {task_id} is known: never enqueued, or removed.")
        queues = self._queues()
        found = self._send([("EXISTS", keys.task(queue, uuid.hex)) for queue in queues])
        if not any(found):
            raise unknown
        queue = queues[found.index(1)]
        deadline = time.monotonic() + timeout
        with Listener(self.connections, [keys.ended_channel(queue, uuid.hex)]) as listener:
            listener.confirm(SUBSCRIBING)
            while True:
                answer = self._scripts.run(Call("ending", queue, (uuid.hex,)))
                if answer is None:
                    raise unknown
                if answer != 0:
                    return records.ending_of(answer)
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return None
                listener.wait(min(rest, LOOK))

    def _queues(self) -> list[str]:
        [names] = self._send([("SMEMBERS", keys.QUEUES)])
        return sorted({name.decode() for name in names} | self._used)

    def _applied(
        self, settlements: Sequence[Settlement], answers: Iterable[Iterable[bytes]]
    ) -> set[UUID]:
        applied = _uuids(answers)
        self.report_stale(settlements, applied)
        return applied

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        answers = self.connections.call(commands) if commands else []
        for answer in answers:
            if isinstance(answer, RedisError):
                raise self.connections.translate(answer) from answer
        return answers


def _batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield runs of messages that one run of the script may store."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        full = len(batch) >= BATCH or size + len(message.payload) > LARGEST_BATCH
        if batch and full:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.payload)
    if batch:
        yield batch


def _receipt(message: Message, answer: Any, *, sent_before: bool) -> Receipt:
    if answer == 1:
        return Receipt(message.id)
    holder, payload, binary = answer
    existing = None if payload is None else records.decode(payload, binary)
    # What was sent twice because the first answer was lost is no duplicate.
    ours = sent_before and _uuid(holder) == message.id and existing == message.payload
    return Receipt(_uuid(holder), duplicate=not ours, payload=None if ours else existing)


def _acks(settlements: Sequence[Settlement]) -> Iterator[Call]:
    """Yield one call for the settlements of each queue and worker."""
    grouped: dict[tuple[str, UUID], records.Arguments] = {}
    now = time.monotonic()
    for settlement in settlements:
        claim = settlement.claim
        arguments = grouped.setdefault((claim.queue, claim.worker), [claim.worker.hex])
        arguments += (
            claim.id.hex,
            str(claim.lease),
            str(int((now - settlement.ended) * 1000)),
            "" if settlement.seconds is None else str(int(settlement.seconds * 1000)),
            *records.outcome_arguments(settlement.outcome),
        )
    for (queue, _), arguments in grouped.items():
        yield Call("ack", queue, arguments)


def _uuids(answers: Iterable[Iterable[bytes]]) -> set[UUID]:
    """Return all ids in the answers of several scripts."""
    return {_uuid(task_id) for answer in answers for task_id in answer}


def _uuid(text: bytes) -> UUID:
    return UUID(hex=text.decode())
