"""A constant rate for a long time, for a part of it with a snapshot that is held."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psycopg

from ..peers import meter
from ..peers.contenders import OURS, start
from ..run import Run
from ..servers import Store
from ..stats import Measurement
from .flat.snapshot import held

DEAD = """
    select coalesce(sum(n_dead_tup), 0)::int8 from pg_stat_user_tables
     where relname like 'alligator\\_%'
"""
DEPTH = "select count(*) from alligator_tasks"


class Plan(NamedTuple):
    """Tasks per second, and the seconds of the whole and of the snapshot's begin and end."""

    rate: int
    seconds: int
    begin: int
    end: int


def measure(store: Store, run: Run) -> list[Measurement]:
    """Look every second at what a worker did, what waits, and what is dead."""
    plan = Plan(200, 6, 2, 4) if run.quick else Plan(5_000, 600, 120, 300)
    rates: list[float] = []
    depth: list[float] = []
    dead: list[float] = []
    with ExitStack() as stack:
        dsn = stack.enter_context(OURS.database(store))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "calls"
        watch = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        snapshot = stack.enter_context(ExitStack())
        for process in (
            stack.enter_context(OURS.ready(dsn, "work", path)),
            stack.enter_context(OURS.ready(dsn, "produce", plan.rate)),
        ):
            start(process)
        calls, since = 0, time.monotonic()
        for second in range(plan.seconds):
            if second == plan.begin:
                snapshot.enter_context(held(dsn))
            if second == plan.end:
                snapshot.close()
            time.sleep(1.0)
            calls_now, now = meter.read(path).calls, time.monotonic()
            rates.append((calls_now - calls) / (now - since))
            calls, since = calls_now, now
            depth.append(watch.execute(DEPTH).fetchall()[0][0])
            dead.append(watch.execute(DEAD).fetchall()[0][0])
    title = f"{plan.rate:,}/s, snapshot held from {plan.begin} s to {plan.end} s"
    return [
        Measurement(f"{title}: {name}", unit, {"Worker": values}, interval=1.0)
        for name, unit, values in (
            ("done", "tasks/s", rates),
            ("waiting", "tasks", depth),
            ("dead", "rows", dead),
        )
    ]
