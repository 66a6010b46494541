"""Two connections whose transactions overlap, and exactly so: no sleep decides the order."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url

from alligator_sql.backends.sql import SQLBackend
from tests.helpers import PATIENCE, Background, wait_until

Action = Callable[["Side"], Any]


class RollbackError(Exception):
    """Raised in the place of a commit."""


@dataclass
class _Gate:
    """Where a commit waits, after ``passed`` others of the same action."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    passed: int = 0
    commits: bool = True


class Side:
    """A backend with connections of its own, whose next commit can be held back."""

    def __init__(self, dsn: str, name: str) -> None:
        self.name = name
        if dsn.startswith("postgresql"):
            dsn += f"{'&' if '?' in dsn else '?'}application_name={name}"
            url = make_url(dsn).set(drivername="postgresql+psycopg")
            # On an engine of the application everything is in a transaction that can be held.
            self.backend = SQLBackend(engine=create_engine(url))
        else:
            self.backend = SQLBackend(dsn)
        self.backend.open()
        self._gate: _Gate | None = None
        event.listen(self.engine, "commit", self._before_commit)

    @property
    def engine(self) -> Engine:
        return self.backend.engine

    def hold(self, action: Action, passed: int) -> tuple[Background, _Gate]:
        """Run ``action`` on a thread up to its commit, the first or a later one."""
        gate = self._gate = _Gate(passed=passed)
        running = Background(lambda: action(self))
        wait_until(lambda: gate.reached.is_set() or not running.is_alive())
        if not gate.reached.is_set():
            raise AssertionError(f"It committed nothing: {running.result()!r}")
        return running, gate

    def _before_commit(self, connection: Connection) -> None:
        gate = self._gate
        if gate is None:
            return
        if gate.passed:
            gate.passed -= 1
        else:
            self._gate = None
            gate.reached.set()
            assert gate.opened.wait(PATIENCE)
            if not gate.commits:
                connection.connection.rollback()
                raise RollbackError


@dataclass(frozen=True)
class Overlap:
    """What came of two actions that overlapped.

    Attributes:
        first: What the one that was there first returned; None when it was rolled back.
        second: What the other one returned.
        waited: Whether the second waited for the first; None where that cannot be seen.
    """

    first: Any
    second: Any
    waited: bool | None


class Overlapping:
    """Two sides of one database, and an observer."""

    def __init__(self, dsn: str) -> None:
        self.is_postgresql = dsn.startswith("postgresql")
        self._dsn = dsn
        self.ours = Side(dsn, "ours")
        self.theirs = Side(dsn, "theirs")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for side in (self.ours, self.theirs):
            side.backend.close()
            side.engine.dispose()

    def run(
        self,
        first: Action,
        second: Action,
        *,
        meanwhile: Callable[[], object] | None = None,
        passed: int = 0,
        commits: bool = True,
    ) -> Overlap:
        """Run ``second`` while ``first`` has done everything but commit.

        ``passed`` commits of the first are not held back. ``meanwhile`` is called between the
        two. The first is let go once the second waits for
        it or is done, to commit or to roll back.
        """
        running, gate = self.ours.hold(first, passed)
        try:
            if meanwhile is not None:
                meanwhile()
            other = Background(lambda: second(self.theirs))
            waited = self._waits(other)
        finally:
            gate.commits = commits
            gate.opened.set()
        came = None
        if commits:
            came = running.result()
        else:
            with pytest.raises(RollbackError):
                running.result()
        return Overlap(came, other.result(), waited)

    def _waits(self, other: Background) -> bool | None:
        """Return once ``other`` waits for a lock or is done; which of them?

        SQLite shows no locks, but whoever writes there waits for the writer before.
        """
        if not self.is_postgresql:
            return None
        with psycopg.connect(self._dsn, autocommit=True) as observer:

            def waits() -> bool:
                found = observer.execute(
                    "select 1 from pg_stat_activity where application_name = 'theirs'"
                    " and wait_event_type = 'Lock'"
                ).fetchone()
                return found is not None

            wait_until(lambda: waits() or not other.is_alive())
            return other.is_alive()
