"""The stores under chaos, and the witnesses that write down every change of a task in them."""

from collections.abc import Callable

from .base import Change, End, State, Store


def _postgresql() -> Store:
    from .postgresql import PostgreSQLStore  # the wheel with the servers takes its time

    return PostgreSQLStore()


def _sqlite() -> Store:
    from .sqlite import SQLiteStore

    return SQLiteStore()


def _redis() -> Store:
    from .redis import RedisStore

    return RedisStore()


STORES: dict[str, Callable[[], Store]] = {
    "postgresql": _postgresql,
    "sqlite": _sqlite,
    "redis": _redis,
}
"""What starts each store, by its name on the command line."""

__all__ = ["STORES", "Change", "End", "State", "Store"]
