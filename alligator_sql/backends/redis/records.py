"""Messages as arguments of the scripts, and what the scripts answer as records."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ...messages import (
    Claim,
    Ending,
    Failure,
    Message,
    Moment,
    Payload,
    Progress,
    TaskRecord,
    WorkerRecord,
)
from ...outcomes import Canceled, Failed, Outcome, Released, Retry, Snoozed, Succeeded

Arguments = list[str | bytes]


def encode(payload: Payload) -> bytes:
    """Return ``payload`` as bytes; text may hold lone surrogates."""
    return payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")


def decode(payload: bytes, binary: bytes | None) -> Payload:
    """Return a stored payload as what it was."""
    return payload if binary else payload.decode("utf-8", "surrogatepass")


def binary_mark(payload: Payload) -> str:
    """Return what tells ``decode`` that ``payload`` is no text."""
    return "1" if isinstance(payload, bytes) else ""


def milliseconds(seconds: float) -> str:
    """Return ``seconds`` as whole milliseconds, never less than they are."""
    return str(math.ceil(seconds * 1000))


def arguments_of(message: Message) -> Arguments:
    """Return the nine arguments with which a message is stored."""
    return [
        message.id.hex,
        encode(message.payload),
        binary_mark(message.payload),
        message.func,
        str(message.priority),
        _moment(message.due) if message.due.seconds else "",
        _moment(message.expires) if message.expires else "",
        "" if message.unique_key is None else f"={message.unique_key}",
        json.dumps(message.tags) if message.tags else "",
    ]


def _moment(moment: Moment) -> str:
    return f"@{milliseconds(moment.seconds)}" if moment.absolute else milliseconds(moment.seconds)


def outcome_arguments(outcome: Outcome) -> Arguments:
    """Return the name of an outcome and the values that it needs, as ``ack.lua`` tells."""
    values: Arguments
    match outcome:
        case Succeeded(kept=False):
            values = ["succeeded"]
        case Succeeded(result=result, problem=problem):
            values = ["kept", result or "", problem or ""]
        case Failed(failure=failure, started=started):
            values = ["failed", *_failure(failure), failure.reason or "", "1" if started else "0"]
        case Canceled(failure=failure):
            values = ["canceled", *_failure(failure)]
        case Retry(delay=delay, failure=failure, payload=payload):
            new = (encode(payload), binary_mark(payload))
            values = ["retry", milliseconds(delay), *new, *_failure(failure)]
        case Snoozed(delay=delay):
            values = ["snoozed", milliseconds(delay)]
        case Released():
            values = ["released"]
    return values


def _failure(failure: Failure) -> tuple[str, str, str]:
    return failure.kind, failure.message, failure.traceback


def origin_of(worker: WorkerRecord) -> str:
    """Return who and where a worker is, as the text of an error says it."""
    return f"{worker.id} on {worker.host} with process id {worker.pid}"


def claim_of(answer: Sequence[Any], queue: str, worker: UUID) -> Claim | None:
    """Return a claim, or None when what was claimed is no task of ours."""
    if len(answer) == 1:
        return None
    task_id, func, payload, binary, lease, attempts, crashes, age, expires_in, suspect = answer
    return Claim(
        id=UUID(hex=task_id.decode()),
        queue=queue,
        func=func.decode("utf-8", "replace"),
        payload=None if payload is None else _decode_or_none(payload, binary),
        lease=lease,
        worker=worker,
        attempts=attempts,
        crashes=crashes,
        age=age / 1000,
        expires_in=None if expires_in is None else expires_in / 1000,
        suspect=suspect is not None,
    )


def _decode_or_none(payload: bytes, binary: bytes | None) -> Payload | None:
    """Return None for a text that is none: somebody else has written it."""
    try:
        return decode(payload, binary)
    except UnicodeDecodeError:
        return None


def ending_of(answer: Sequence[bytes | None]) -> Ending:
    """Return how a task ended."""
    status, result, problem, kind, message, traceback, reason, _ = (
        None if value is None else value.decode("utf-8", "replace") for value in answer
    )
    failure = None
    if kind is not None:
        failure = Failure(kind, message or "", traceback or "", reason)
    return Ending(int(status or 0), result, problem, failure)


def record_of(task_id: UUID, queue: str, stored: Mapping[bytes, bytes]) -> TaskRecord:
    """Return what a task's hash tells."""
    fields = {
        name.decode("utf-8", "replace"): _text(value)
        for name, value in stored.items()
        if name != b"payload"
    }
    error = fields.get("reason")
    if "error_kind" in fields:
        error = f"{fields['error_kind']}: {fields.get('error_message', '')}"
    worker = fields.get("worker")
    return TaskRecord(
        id=task_id,
        queue=queue,
        func=fields.get("func", ""),
        status=int(fields.get("status", 0)),
        priority=int(fields.get("priority", 0)),
        attempts=int(fields.get("attempts", 0)),
        crashes=int(fields.get("crashes", 0)),
        created_at=_datetime(fields.get("created_at", "0")),
        run_at=_datetime(fields.get("run_at", "0")),
        started_at=_datetime_or_none(fields.get("started_at")),
        finished_at=_datetime_or_none(fields.get("finished_at")),
        worker_id=None if worker is None else UUID(hex=worker),
        unique_key=fields.get("unique_key"),
        tags=tuple(json.loads(fields.get("tags", "[]"))),
        reason=fields.get("reason"),
        error=error,
        progress=_progress(fields),
    )


def _text(value: bytes) -> str:
    """Return a stored text; somebody else may have written bytes there that are none."""
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def _progress(fields: Mapping[str, str]) -> Progress | None:
    if "percent" not in fields:
        return None
    return Progress(float(fields["percent"]), fields.get("progress", ""))


def _datetime(milliseconds_since_1970: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds_since_1970) / 1000, UTC)


def _datetime_or_none(milliseconds_since_1970: str | None) -> datetime | None:
    return None if milliseconds_since_1970 is None else _datetime(milliseconds_since_1970)
