"""What a database says when it has trouble, in our words."""

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ...exceptions import StoreUnavailableError
from .engines import READ_ONLY

DISK_FULL = "53100"
PROGRAM_LIMIT = "54000"
VICTIMS = ("40001", "40P01")
"""SQLSTATEs of transactions that were ended for the sake of others, and may be repeated."""
TROUBLES = ("08", "25", "40", "42501", "53", "55", "57", "58", "XX")
"""What SQLSTATEs begin with that say nothing about the statement, but about the server: it may
well be accepted later. 42501 is a privilege that the role does not have."""
SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_NOTADB = 8, 11, 13, 26
"""What SQLite says of a file, as numbers: a process that uses PostgreSQL does not load SQLite."""
FILE_TROUBLES = frozenset({SQLITE_READONLY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_NOTADB})
HINTS = {
    READ_ONLY: "It is a standby, or was made read-only. Connect to the primary; with several hosts "
    "in the connection string the one that can be written to is found.",
    "42501": "The role lacks a privilege.",
    "57014": "It took longer than statement_timeout allows.",
}


class Translated:
    """A block in which the driver's way of saying that the database has trouble becomes ours.

    Each enqueue needs one, and a context manager made of a generator takes four times as long.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DBAPIError) and _is_trouble(error):
            does = "refuses" if _state(error) else "does not answer"
            hint = HINTS.get(_state(error), "")
            raise StoreUnavailableError(
                f"The database {does}: {error.orig} {hint}".rstrip()
            ) from error
        if isinstance(error, PoolTimeoutError):
            raise StoreUnavailableError(
                "No connection of the pool became free in time. Share an engine with a larger "
                "pool: Gator(engine=create_engine(..., pool_size=20))."
            ) from error


def is_passing(error: StoreUnavailableError) -> bool:
    """Whether to try again at once: a connection was lost, the transaction was a victim, or
    there was no room for its notification, which it can do without."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    state = _state(cause)
    return (
        state in VICTIMS or is_mute(error) or (cause.connection_invalidated and state != READ_ONLY)
    )


def is_mute(error: Exception) -> bool:
    """Whether PostgreSQL's queue of notifications is full."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError) or _state(cause) != PROGRAM_LIMIT:
        return False
    return "NOTIFY" in str(cause.orig)  # in all languages; there are other limits


def is_full(error: StoreUnavailableError) -> bool:
    """Whether the disk, or what the database may use of it, is full."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    return _sqlite_code(cause) == SQLITE_FULL or _state(cause) == DISK_FULL


def _is_trouble(error: DBAPIError) -> bool:
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return _sqlite_code(error) in FILE_TROUBLES or _state(error).startswith(TROUBLES)


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _sqlite_code(error: DBAPIError) -> int:
    # Errors that Python's module raises by itself have none, like those of psycopg.
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
