"""The backends, found by the scheme of a connection string and imported when used."""

import re
from collections.abc import Callable
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
        UnknownBackendError: No backend serves this scheme, its extra is not installed, or the
            distribution that offers it is broken.
        Unsupported: The backend does not have an option that was given.
    """
    scheme = scheme_of(conn_string)
    backend = _built_in(scheme) if scheme in _SCHEMES else _plugin(scheme)
    refused = [name for name in options if name not in backend.options]
    if refused:
        raise Unsupported(
            f"{', '.join(refused)}: the {backend.name} backend has no such option; "
            "PostgreSQL (postgresql://) and SQLite (sqlite:///) have."
        )
    make: Callable[..., Backend] = backend
    return make(conn_string, **options)


def _built_in(scheme: str) -> type[Backend]:
    module, class_name, pip = _SCHEMES[scheme]
    try:
        return cast(type[Backend], getattr(import_module(module), class_name))
    except ModuleNotFoundError as error:
        raise UnknownBackendError(
            f"{scheme}:// needs the package {error.name}: pip install '{pip}'"
        ) from error


def _plugin(scheme: str) -> type[Backend]:
    from . import plugins  # importlib.metadata takes longer to import than all of this package

    backend = plugins.find(scheme)
    if backend is None:
        known = [f"{name}:// (pip install '{pip}')" for name, (_, _, pip) in _SCHEMES.items()]
        known += [f"{name}:// ({owner})" for name, owner in plugins.known().items()]
        given = f"{scheme}://" if scheme else "a connection string without a scheme"
        raise UnknownBackendError(f"No backend for {given}. Known: {', '.join(known)}.")
    return backend


def scheme_of(conn_string: str) -> str:
    """Return the scheme without a driver: ``postgresql`` for ``postgresql+psycopg://…``."""
    scheme = re.match(r"(\w+)(\+\w+)?:", conn_string)
    return scheme[1].lower() if scheme else ""
