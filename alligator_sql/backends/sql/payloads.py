"""Payloads as database text.

A payload is almost always JSON and is stored as it is. Bytes (a compressing task class),
and text that a text column cannot hold, get a marker that no JSON document starts with.
"""

import base64
import json

from ...messages import Payload

_BYTES = "=bytes:"
_TEXT = "=text:"


def encode(payload: Payload) -> str:
    """Return the text to store for ``payload``."""
    if isinstance(payload, bytes):
        return _BYTES + base64.b64encode(payload).decode("ascii")
    if payload.startswith("=") or "\x00" in payload or not _is_utf8(payload):
        return _TEXT + json.dumps(payload)
    return payload


def decode(text: str) -> Payload:
    """Return the payload that :func:`encode` was given."""
    if text.startswith(_BYTES):
        return base64.b64decode(text[len(_BYTES) :])
    if text.startswith(_TEXT):
        return str(json.loads(text[len(_TEXT) :]))
    return text


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
