"""The stores of Alligator 1.0, to move their tasks from."""

from ..backends import scheme_of
from ..exceptions import UnknownBackendError
from .base import Entry, LegacyStore
from .move import Left, Move

__all__ = ["Entry", "Left", "LegacyStore", "Move", "open_store"]


def open_store(conn_string: str, *, read_only: bool = False) -> LegacyStore:
    """Return the store of Alligator 1.0 that ``conn_string`` leads to.

    Raises:
        UnknownBackendError: No store of this kind can be read, or its extra is not installed.
        StoreUnavailableError: There is no such SQLite file.
        InvalidOptionError: The string may mean either of two SQLite files.
    """
    scheme = scheme_of(conn_string)
    if scheme == "sqlite":
        from .sqlite import SQLiteStore

        return SQLiteStore(conn_string, read_only=read_only)
    if scheme in {"redis", "rediss", "unix"}:
        from .redis import RedisStore

        return RedisStore(conn_string)
    given = f"{scheme}://" if scheme else "a connection string without a scheme"
    raise UnknownBackendError(
        f"Tasks of Alligator 1.0 are moved from redis:// and sqlite:///, not from {given}. Let the "
        "old workers empty other queues."
    )
