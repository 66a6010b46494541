"""A process that stores tasks until it is told to stop, and knows which of them must run."""

import os
import signal
import sys
import time
from random import Random
from typing import Any, Final
from uuid import uuid4

from alligator_sql import Gator

from .journal import VARIABLE, Committed, Journal, Planned, now
from .tasks import KINDS, transaction

QUEUE: Final = "chaos"
LARGEST: Final = 12
"""Tasks that are stored without a pause."""
PAUSE: Final = 0.25
"""Seconds between two transactions, at most."""


class _RollBackError(Exception):
    """Raised in a transaction that shall not be."""


class Producer:
    """Stores random tasks: in a database most of them in transactions of the application."""

    def __init__(self, dsn: str, seed: str, journal: Journal) -> None:
        self._dsn = dsn
        self._sql = not dsn.startswith("redis")
        self._random = Random(seed)
        self._journal = journal
        self._gator = Gator(dsn, QUEUE)
        self._kinds = [name for name, kind in KINDS.items() if self._sql or not kind.needs_sql]
        self._shares = [KINDS[name].share for name in self._kinds]

    def store(self) -> None:
        """Store some tasks: in one transaction of the application, or one by one."""
        count = self._random.randint(1, LARGEST)
        kinds = self._random.choices(self._kinds, self._shares, k=count)
        if self._sql and self._random.random() < 0.7:
            self._store_joined(kinds, rolls_back=self._random.random() < 0.15)
        else:
            for kind in kinds:
                plan = self._planned([kind], joined=False)
                self._enqueue(self._gator, plan)
                self._journal.write(Committed(now(), plan.transaction))

    def _store_joined(self, kinds: list[str], *, rolls_back: bool) -> None:
        plan = self._planned(kinds, joined=True, rolls_back=rolls_back)
        try:
            with transaction(self._dsn) as connection:
                connection.execute(f"insert into chaos_orders (id) values ('{plan.transaction}')")
                self._enqueue(self._gator.using(connection), plan)
                if rolls_back:
                    raise _RollBackError
        except _RollBackError:
            return
        self._journal.write(Committed(now(), plan.transaction))

    def _planned(self, kinds: list[str], *, joined: bool, rolls_back: bool = False) -> Planned:
        tasks = {uuid4().hex: kind for kind in kinds}
        plan = Planned(now(), uuid4().hex, tasks, joined, rolls_back)
        self._journal.write(plan)
        return plan

    def _enqueue(self, target: Any, plan: Planned) -> None:
        for task, name in plan.tasks.items():
            kind = KINDS[name]
            with target.options(task_id=task, **kind.options) as options:
                options.task(kind.func)

    def run(self) -> None:
        """Go on until SIGTERM, whatever the store does."""
        stopping = False

        def stop(*_: Any) -> None:
            nonlocal stopping
            stopping = True

        signal.signal(signal.SIGTERM, stop)
        while not stopping:
            try:
                self.store()
            except Exception as error:
                print(f"{now():.3f} in doubt: {type(error).__name__}: {error}", flush=True)
                time.sleep(PAUSE)
            time.sleep(self._random.uniform(0, PAUSE))


if __name__ == "__main__":
    Producer(os.environ["ALLIGATOR_CONN"], sys.argv[1], Journal(os.environ[VARIABLE])).run()
