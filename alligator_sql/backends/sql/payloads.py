"""Payloads as database text.

A payload is almost always JSON and is stored as it is. Bytes (a compressing task class),
and text that a text column cannot hold, get a marker that no JSON document starts with.

The call that a plain task makes begins with its id and its function, which the row of the task
has anyway. It is stored without them: ``=[1, 2]}`` has positional arguments, and
``="kwargs":{"a":1}}`` has none.
"""

import base64
import json
from uuid import UUID

from ...messages import Payload

_BYTES = "=bytes:"
_TEXT = "=text:"
_ARGS = '"args":'


def pack(payload: Payload, task_id: UUID | str, func: str) -> str:
    """Return the text to store for the ``payload`` of a task; its id may be text already."""
    beginning = _beginning(task_id, func)
    if isinstance(payload, str) and payload.startswith(beginning) and _is_storable(payload):
        rest = payload[len(beginning) :]
        if rest.startswith(f"{_ARGS}["):
            return "=" + rest[len(_ARGS) :]
        if rest.startswith('"'):
            return "=" + rest
    return encode(payload)


def unpack(text: str, task_id: UUID, func: str) -> Payload:
    """Return the payload that :func:`pack` was given."""
    if text.startswith("=["):
        return _beginning(task_id, func) + _ARGS + text[1:]
    if text.startswith('="'):
        return _beginning(task_id, func) + text[1:]
    return decode(text)


def _beginning(task_id: UUID | str, func: str) -> str:
    return f'{{"task_id":"{task_id}","func":"{func}",'


def encode(payload: Payload) -> str:
    """Return the text to store for ``payload``, whatever it belongs to."""
    if isinstance(payload, bytes):
        return _BYTES + base64.b64encode(payload).decode("ascii")
    if payload.startswith("=") or not _is_storable(payload):
        return _TEXT + json.dumps(payload)
    return payload


def decode(text: str) -> Payload:
    """Return the payload that :func:`encode` was given."""
    if text.startswith(_BYTES):
        return base64.b64decode(text[len(_BYTES) :])
    if text.startswith(_TEXT):
        return str(json.loads(text[len(_TEXT) :]))
    return text


def _is_storable(text: str) -> bool:
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
