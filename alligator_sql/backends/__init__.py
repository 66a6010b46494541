"""The backends, found by the scheme of a connection string and imported when used."""

import re
from importlib import import_module
from typing import Any, cast

from ..exceptions import UnknownBackendError, Unsupported
from .base import Backend
from .capabilities import Capabilities

__all__ = ["Backend", "Capabilities", "build", "scheme_of"]

_SCHEMES = {
    "postgresql": ("alligator_sql.backends.sql", "SQLBackend", "alligator-sql[postgres]"),
    "sqlite": ("alligator_sql.backends.sql", "SQLBackend", "alligator-sql"),
    "redis": ("alligator_sql.backends.redis", "RedisBackend", "alligator-sql[redis]"),
    "rediss": ("alligator_sql.backends.redis", "RedisBackend", "alligator-sql[redis]"),
    "unix": ("alligator_sql.backends.redis", "RedisBackend", "alligator-sql[redis]"),
    "sqs": ("alligator_sql.backends.sqs", "SQSBackend", "alligator-sql[sqs]"),
    "locmem": ("alligator_sql.backends.locmem", "LocalMemoryBackend", "alligator-sql"),
}
"""Scheme of the connection string: module, class, and what installs it."""


def build(conn_string: str, **options: Any) -> Backend:
    """Return the backend for ``conn_string``, not opened yet.

    Raises:
        UnknownBackendError: No backend serves this scheme, or its extra is not installed.
    """
    scheme = scheme_of(conn_string)
    if scheme not in _SCHEMES:
        known = ", ".join(
            f"{name}:// (pip install '{pip}')" for name, (_, _, pip) in _SCHEMES.items()
        )
        given = f"{scheme}://" if scheme else "a connection string without a scheme"
        raise UnknownBackendError(f"No backend for {given}. Known: {known}.")
    module, class_name, pip = _SCHEMES[scheme]
    if options and class_name != "SQLBackend":
        raise Unsupported(f"{', '.join(options)}: only the SQL backends have this option.")
    try:
        backend = getattr(import_module(module), class_name)
    except ModuleNotFoundError as error:
        raise UnknownBackendError(
            f"{scheme}:// needs the package {error.name}: pip install '{pip}'"
        ) from error
    return cast(Backend, backend(conn_string, **options))


def scheme_of(conn_string: str) -> str:
    """Return the scheme without a driver: ``postgresql`` for ``postgresql+psycopg://…``."""
    scheme = re.match(r"(\w+)(\+\w+)?:", conn_string)
    return scheme[1].lower() if scheme else ""
