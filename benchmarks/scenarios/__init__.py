"""The scenarios, one file each."""

from collections.abc import Callable

from ..servers import Kind, Store
from ..stats import Measurement
from . import (
    drain,
    enqueue_bulk,
    enqueue_in_transaction,
    enqueue_one,
    idle,
    imports,
    latency,
    wal,
)
from .redis import drain as redis_drain
from .redis import enqueue_one as redis_enqueue_one
from .redis import idle as redis_idle
from .redis import latency as redis_latency

Scenarios = dict[str, Callable[[Store, bool], list[Measurement]]]

_SQL: Scenarios = {
    "enqueue-one": enqueue_one.measure,
    "enqueue-in-transaction": enqueue_in_transaction.measure,
    "enqueue-bulk": enqueue_bulk.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "idle": idle.measure,
}

PER_STORE: dict[Kind, Scenarios] = {
    "postgresql": _SQL | {"wal": wal.measure},
    "sqlite": _SQL,
    "redis": {
        "enqueue-one": redis_enqueue_one.measure,
        "drain": redis_drain.measure,
        "latency": redis_latency.measure,
        "idle": redis_idle.measure,
    },
}
"""What is measured on each kind of store; the flag asks for a quick look."""

ONCE: dict[str, Callable[[bool], list[Measurement]]] = {"import": imports.measure}
"""What needs no store."""

NAMES = (*dict.fromkeys(name for scenarios in PER_STORE.values() for name in scenarios), *ONCE)
"""All scenarios."""
