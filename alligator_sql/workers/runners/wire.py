"""What a worker and its child processes say to each other: lines of JSON on a socket.

Nothing is pickled, and a child gets no more than it needs for one task.
"""

import base64
import json
import socket
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID

from ...exceptions import Snooze
from ...messages import Claim, Failure, Payload
from ...outcomes import Canceled, Failed, Outcome, Released, Retry, Snoozed, Succeeded

Words = dict[str, Any]


class Channel:
    """One end of the socket.

    Any thread may send; one may receive.

    Args:
        connection: A connected stream socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, words: Words) -> None:
        """Send one line.

        Raises:
            OSError: The other end is gone.
        """
        line = json.dumps(words, separators=(",", ":")).encode("ascii") + b"\n"
        with self._sending:
            self._socket.sendall(line)

    def receive(self) -> Words | None:
        """Wait for a line and return it; None when the other end is gone."""
        try:
            line = self._file.readline()
        except OSError:
            return None
        if not line.endswith(b"\n"):
            return None
        words: Words = json.loads(line)
        return words

    def end(self) -> None:
        """Let :meth:`receive` return None once it has returned what is there."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close this end."""
        self._file.close()
        self._socket.close()


def dump_payload(payload: Payload | None) -> Words:
    """Return a payload as JSON can hold it."""
    if isinstance(payload, bytes):
        return {"base64": base64.b64encode(payload).decode("ascii")}
    return {"text": payload}


def load_payload(words: Words) -> Payload | None:
    """Return what :func:`dump_payload` was given."""
    if "base64" in words:
        return base64.b64decode(words["base64"])
    text: str | None = words["text"]
    return text


def dump_claim(claim: Claim) -> Words:
    """Return a claim as JSON can hold it.

    ``received`` is on the monotonic clock, which the processes of a machine share.
    """
    return {
        "id": str(claim.id),
        "queue": claim.queue,
        "func": claim.func,
        "payload": dump_payload(claim.payload),
        "lease": claim.lease,
        "worker": str(claim.worker),
        "attempts": claim.attempts,
        "crashes": claim.crashes,
        "age": claim.age,
        "expires_in": claim.expires_in,
        "received": claim.received,
    }


def load_claim(words: Words) -> Claim:
    """Return what :func:`dump_claim` was given."""
    return Claim(
        **words
        | {
            "id": UUID(words["id"]),
            "worker": UUID(words["worker"]),
            "payload": load_payload(words["payload"]),
        }
    )


def dump_outcome(outcome: Outcome) -> Words:
    """Return an outcome as JSON can hold it: exceptions stay behind, their texts come along."""
    match outcome:
        case Succeeded(value=value, result=result, problem=problem, completed=completed):
            return {
                "kind": "succeeded",
                "value": value if _is_json(value) else None,
                "result": result,
                "problem": problem,
                "completed": completed,
            }
        case Failed(failure=failure, started=started):
            return {"kind": "failed", "failure": _dump_failure(failure), "started": started}
        case Canceled(failure=failure):
            return {"kind": "canceled", "failure": _dump_failure(failure)}
        case Retry(delay=delay, failure=failure, payload=payload):
            return {
                "kind": "retry",
                "delay": delay,
                "failure": _dump_failure(failure),
                "payload": dump_payload(payload),
            }
        case Snoozed(delay=delay):
            return {"kind": "snoozed", "delay": delay}
        case Released():
            return {"kind": "released"}


def load_outcome(words: Words) -> Outcome:
    """Return what :func:`dump_outcome` was given, without what stays behind."""
    match words:
        case {"kind": "succeeded", **rest}:
            return Succeeded(**rest)
        case {"kind": "failed", "failure": failure, "started": started}:
            return Failed(Failure(**failure), started=started)
        case {"kind": "canceled", "failure": failure}:
            return Canceled(Failure(**failure))
        case {"kind": "retry", "delay": delay, "failure": failure, "payload": payload}:
            return Retry(delay, Failure(**failure), load_payload(payload) or "")
        case {"kind": "snoozed", "delay": delay}:
            return Snoozed(delay, Snooze(delay))
        case {"kind": "released"}:
            return Released()
    raise ValueError(f"no outcome: {words!r}")


def _dump_failure(failure: Failure) -> Words:
    return {
        "kind": failure.kind,
        "message": failure.message,
        "traceback": failure.traceback,
        "reason": failure.reason,
    }


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except Exception:  # the value's own code runs while it is encoded
        return False
    return True
