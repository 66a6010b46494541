"""What stands in the body of an SQS message: a task as ASCII JSON.

SQS takes only the characters that XML knows, so everything else is escaped. What comes
back is checked field by field: whoever may write to the queue could have written it.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ...messages import Payload

VERSION = 1


@dataclass(frozen=True, slots=True)
class Envelope:
    """A task in one message. A retry is another message, with the same id.

    Attributes:
        attempts: Attempts that had started when the message was sent.
        sends: Messages that carried this task before this one.
        age: Seconds that the task had lived when the message was sent.
        delay: Seconds from the sending until the task is due, when SQS alone cannot delay it
            so long; else 0.
    """

    id: UUID
    task_id: str
    func: str
    payload: Payload
    attempts: int = 0
    sends: int = 0
    age: float = 0.0
    delay: float = 0.0

    @property
    def deduplication_id(self) -> str:
        """The name of this message: the task's id, told apart for each later message."""
        return f"{self.id}-{self.sends}" if self.sends else str(self.id)

    def dumps(self) -> str:
        """Return the body of the message."""
        fields: dict[str, Any] = {
            "v": VERSION,
            "id": str(self.id),
            "task_id": self.task_id,
            "func": self.func,
            "attempts": self.attempts,
            "sends": self.sends,
            "age": round(self.age, 3),
            "delay": round(self.delay, 3),
        }
        if isinstance(self.payload, bytes):
            fields["base64"] = base64.b64encode(self.payload).decode("ascii")
        else:
            fields["payload"] = self.payload
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def loads(body: str) -> Envelope:
    """Return the envelope in ``body``.

    Raises:
        ValueError: It is none of ours.
    """
    try:
        fields = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise ValueError(f"no task of version {VERSION}")
    return Envelope(
        id=UUID(_text(fields, "id")),
        task_id=_text(fields, "task_id"),
        func=_text(fields, "func"),
        payload=_payload(fields),
        attempts=_count(fields, "attempts"),
        sends=_count(fields, "sends"),
        age=_seconds(fields, "age"),
        delay=_seconds(fields, "delay"),
    )


def _payload(fields: dict[str, Any]) -> Payload:
    if "base64" not in fields:
        return _text(fields, "payload")
    try:
        return base64.b64decode(_text(fields, "base64"), validate=True)
    except binascii.Error as error:
        raise ValueError("base64 is broken") from error


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is no text")


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(f"{name} is no count")
    return value


def _seconds(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    # NaN is in no range, and an int may be larger than any float
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40:
        return float(value)
    raise ValueError(f"{name} is no number of seconds")
