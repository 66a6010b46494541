"""The scenarios, one file each."""

from collections.abc import Callable

from ..servers import Store
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

PER_STORE: dict[str, Callable[[Store, bool], list[Measurement]]] = {
    "enqueue-one": enqueue_one.measure,
    "enqueue-in-transaction": enqueue_in_transaction.measure,
    "enqueue-bulk": enqueue_bulk.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "idle": idle.measure,
    "wal": wal.measure,
}
"""What is measured on each store; the flag asks for a quick look."""

ONCE: dict[str, Callable[[bool], list[Measurement]]] = {"import": imports.measure}
"""What needs no store."""
