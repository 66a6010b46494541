"""The scenarios, one file each."""

from collections.abc import Callable

from ..run import Run
from ..servers import Kind, Store
from ..stats import Measurement
from . import (
    concurrency,
    drain,
    enqueue_bulk,
    enqueue_in_transaction,
    enqueue_one,
    flat,
    idle,
    imports,
    latency,
    mapping,
    notify,
    snapshot,
    soak,
    wal,
)

Scenarios = dict[str, Callable[[Store, Run], list[Measurement]]]

_ALL: Scenarios = {
    "enqueue-one": enqueue_one.measure,
    "enqueue-bulk": enqueue_bulk.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "idle": idle.measure,
}
_SQL: Scenarios = _ALL | {
    "enqueue-in-transaction": enqueue_in_transaction.measure,
    "map": mapping.measure,
    "one-thread": concurrency.one_thread,
    "threads": concurrency.threads,
    "asyncio": concurrency.coroutines,
}

PER_STORE: dict[Kind, Scenarios] = {
    "postgresql": _SQL
    | {
        "wal": wal.measure,
        "snapshot": snapshot.measure,
        "notify": notify.measure,
        "flat": flat.measure,
        "soak": soak.measure,
    },
    "sqlite": _SQL,
    "redis": _ALL,
}
"""What is measured on each kind of store."""

ONCE: dict[str, Callable[[Run], list[Measurement]]] = {"import": imports.measure}
"""What needs no store."""

NAMES = (*dict.fromkeys(name for scenarios in PER_STORE.values() for name in scenarios), *ONCE)
"""All scenarios."""
