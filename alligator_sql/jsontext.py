"""JSON as it is stored: ASCII, strict, and exactly what comes back.

Nothing is converted silently: what JSON would change on the way (NaN, keys that are not
text) is refused with the path to it.
"""

import json
from typing import Any

from .exceptions import PayloadError

_CONTAINERS = (dict, list, tuple)
# What contains itself is found before, by the look at its keys.
_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_read = json.JSONDecoder().raw_decode


def dumps(value: Any, what: str = "arguments") -> str:
    """Return ``value`` as JSON text.

    ``what`` names the value in errors and starts the path to the culprit. Tuples are
    written as lists; NUL and lone surrogates are escaped and come back unchanged.

    Raises:
        PayloadError: The value is not plain JSON, or JSON would change it.
    """
    try:
        if not _has_text_keys(value):
            _refuse_keys(value, what)
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, PayloadError):
            raise
        raise PayloadError(_explain(value, what, error)) from error


def loads(text: str | bytes) -> Any:
    """Return what :func:`dumps` was given."""
    if isinstance(text, str) and text.startswith("{"):  # as all tasks do: nothing to skip
        value, end = _read(text)
        if end == len(text):
            return value
    return json.loads(text)


def _has_text_keys(value: Any) -> bool:
    """Whether all keys in ``value`` are text."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return False
        value = value.values()
    elif not isinstance(value, _CONTAINERS):
        return True
    for item in value:  # noqa: SIM110 - a generator takes longer than what it does
        if isinstance(item, _CONTAINERS) and not _has_text_keys(item):
            return False
    return True


def _refuse_keys(value: Any, path: str) -> None:
    """Raise an error with the path to the first key that is no text."""
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            raise PayloadError(
                f"{path} has the key {_shown(key)} of type {type(key).__name__}: JSON keys are "
                "text, so it would come back changed. Use str keys."
            )
    for inner, item in _parts(value, path):
        _refuse_keys(item, inner)


def _explain(value: Any, what: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{what} are nested too deeply, or contain themselves."
    path, culprit = _culprit(value, what)
    return (
        f"{path} cannot be stored as JSON: {_shown(culprit)} of type {type(culprit).__name__} "
        f"({error}). Pass plain values (str, int, finite float, bool, None, list, dict), "
        "for instance the primary key of an object."
    )


def _culprit(value: Any, path: str) -> tuple[str, Any]:
    """Find the innermost part of ``value`` that cannot be encoded."""
    for inner, item in _parts(value, path):
        try:
            _encode(item)
        except (TypeError, ValueError, RecursionError):
            return _culprit(item, inner)
    return path, value


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    """Return what ``value`` holds, each with its path."""
    if isinstance(value, dict):
        return [(f"{path}[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return []


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:  # the repr of a foreign object may do anything
        return "<no repr>"
    return shown if len(shown) <= 80 else shown[:77] + "..."
