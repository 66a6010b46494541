"""JSON as it is stored: ASCII, strict, and exactly what comes back.

Nothing is converted silently: what JSON would change on the way (NaN, keys that are not
text) is refused with the path to it.
"""

import json
from typing import Any

from .exceptions import PayloadError

_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, check_circular=True, separators=(",", ":")
).encode


def dumps(value: Any, what: str = "arguments") -> str:
    """Return ``value`` as JSON text.

    ``what`` names the value in errors and starts the path to the culprit. Tuples are
    written as lists; NUL and lone surrogates are escaped and come back unchanged.

    Raises:
        PayloadError: The value is not plain JSON, or JSON would change it.
    """
    try:
        _check_keys(value, what)
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, PayloadError):
            raise
        raise PayloadError(_explain(value, what, error)) from error


def loads(text: str | bytes) -> Any:
    """Return what :func:`dumps` was given."""
    return json.loads(text)


def _check_keys(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise PayloadError(
                    f"{path} has the key {_shown(key)} of type {type(key).__name__}: JSON keys are "
                    "text, so it would come back changed. Use str keys."
                )
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{path}[{index}]")


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
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(f"{path}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    for inner, item in items:
        try:
            _encode(item)
        except (TypeError, ValueError, RecursionError):
            return _culprit(item, inner)
    return path, value


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:  # the repr of a foreign object may do anything
        return "<no repr>"
    return shown if len(shown) <= 80 else shown[:77] + "..."
