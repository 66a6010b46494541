"""Moving time in tests."""

from sqlalchemy import Connection, text

from ..backends.sql import SQLBackend
from ..clock import SystemClock

_TIMES = {
    "tasks": ("run_at", "created_at", "started_at", "expires_at", "canceled_at"),
    "finished": ("run_at", "created_at", "started_at", "finished_at"),
    "workers": ("expires_at", "started_at"),
}


class ManualClock(SystemClock):
    """The clock of the machine, plus what :meth:`advance` has added."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        """Move ``seconds`` into the future."""
        self._ahead += seconds

    def now(self) -> float:
        return super().now() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead


def advance(backend: SQLBackend, seconds: float) -> None:
    """Let ``seconds`` pass for everything that a SQL store holds.

    The database's clock cannot be moved, so every stored time moves into the past instead.
    """
    backend.open()
    with backend.engine.begin() as connection:
        for table, columns in _TIMES.items():
            _shift(connection, backend.names.table(table), columns, seconds)


def _shift(connection: Connection, table: str, columns: tuple[str, ...], seconds: float) -> None:
    by = ":by" if connection.dialect.name == "sqlite" else "make_interval(secs => :by)"
    changes = ", ".join(f"{column} = {column} - {by}" for column in columns)
    connection.execute(text(f"update {table} set {changes}"), {"by": seconds})
