"""What the workers run, and how each kind has to end.

Every task writes into the journal before it does anything, and again before it returns or
raises. What it returns or raises names the run, so that the store says whose outcome it keeps.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import psycopg

from alligator_sql import current_task
from alligator_sql.exceptions import Discard

from .journal import VARIABLE, Journal, Meant, Ran, now

PATIENCE: Final = 5
"""Seconds that the application waits for its own database."""


class MeantError(Exception):
    """What a task raises when it is its turn to fail."""


def plain() -> str:
    _begin()
    return _mean("success")


def slow() -> str:
    """Be there when something happens to the worker."""
    _begin()
    time.sleep(0.6)
    return _mean("success")


async def coroutine() -> str:
    _begin()
    await asyncio.sleep(0.02)
    return _mean("success")


def flaky() -> str:
    _begin()
    if current_task().attempt == 1:
        raise MeantError(_mean("failure"))
    return _mean("success")


def hopeless() -> None:
    _begin()
    raise MeantError(_mean("failure"))


def discarding() -> None:
    _begin()
    raise Discard(_mean("failure"))


def snoozing() -> str:
    _begin()
    if current_task().lease == 1:
        _mean("snooze")
        current_task().snooze(0.2)
    return _mean("success")


def completing() -> str:
    """Take effect in the application's database together with the success."""
    _begin()
    run = _mean("success")
    try:
        with transaction(os.environ["ALLIGATOR_CONN"]) as connection:
            connection.execute(f"insert into chaos_effects (task) values ('{_task()}')")
            current_task().complete(connection, run)
    except Exception:
        _mean("failure")
        raise
    return run


@contextmanager
def transaction(dsn: str) -> Iterator[Any]:
    """Open a transaction of the application, and commit it at the end of the block."""
    if dsn.startswith("sqlite"):
        path = dsn.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as lite, lite:
            yield lite
    else:
        options = f"-c statement_timeout={PATIENCE}s"
        with psycopg.connect(dsn, connect_timeout=PATIENCE, options=options) as connection:
            yield connection


@dataclass(frozen=True, slots=True)
class Kind:
    """A function with options.

    Attributes:
        func: What is called.
        share: How many of a hundred tasks are like this.
        options: What they are stored with.
        failures: How many failures are on record in the end if it must fail; 0 if it must not.
        needs_sql: Whether only databases can do this.
    """

    func: Callable[[], Any]
    share: int
    options: dict[str, Any] = field(default_factory=dict)
    failures: int = 0
    needs_sql: bool = False


_KEPT: Final = {"keep_result": True}
KINDS: Final = {
    "plain": Kind(plain, 35, _KEPT),
    "forgotten": Kind(plain, 14),
    "urgent": Kind(plain, 5, {"priority": 10}),
    "delayed": Kind(plain, 5, {"delay_by": 0.5}),
    "coroutine": Kind(coroutine, 10, _KEPT),
    "slow": Kind(slow, 5, _KEPT),
    "flaky": Kind(flaky, 7, _KEPT | {"retries": 3, "backoff": 0.2}),
    "hopeless": Kind(hopeless, 4, {"retries": 1, "backoff": 0.1}, failures=2),
    "discarding": Kind(discarding, 2, {"retries": 5}, failures=1),
    "snoozing": Kind(snoozing, 3, _KEPT),
    "completing": Kind(
        completing, 5, _KEPT | {"retries": 1000, "backoff": 0.2}, needs_sql=True
    ),
}  # fmt: skip


@cache
def _journal() -> Journal:
    return Journal(os.environ[VARIABLE])


def _task() -> str:
    claim = current_task().claim
    assert claim is not None
    return claim.id.hex


def _worker() -> str:
    worker = current_task().worker
    assert worker is not None
    return worker.hex


def _begin() -> None:
    context = current_task()
    _journal().write(
        Ran(now(), _task(), context.lease, _worker(), context.attempt, os.getpid())
    )  # fmt: skip


def _mean(outcome: str) -> str:
    """Note what the run is about to do, and return its name for the store to keep."""
    lease, worker = current_task().lease, _worker()
    _journal().write(Meant(now(), _task(), lease, worker, outcome))
    return f"{lease}:{worker}"
