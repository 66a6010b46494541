"""An application on Alligator 1.0: that package itself stores the tasks."""

import json
from collections.abc import Callable
from typing import Any

import alligator

from tests.compat import tasks


class Old:
    """An application on Alligator 1.0.

    Args:
        dsn: Where it keeps its tasks.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._gators: dict[str, Any] = {}

    def gator(self, queue: str = "all") -> Any:
        """Return the genuine gator of a queue."""
        if queue not in self._gators:
            gator = alligator.Gator(self.dsn, queue)
            if self.dsn.startswith("sqlite"):
                gator.backend.setup_tables(queue)
            self._gators[queue] = gator
        return self._gators[queue]

    def task(self, func: Callable[..., Any], *args: Any, queue: str = "all", **options: Any) -> Any:
        """Enqueue a call."""
        with self.gator(queue).options(**options) as opts:
            return opts.task(func, *args)

    def put(self, task_id: str, data: Any, due: Any = 0, queue: str = "all") -> None:
        """Store something below Alligator."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.gator(queue).backend.push(queue, task_id, text, delay_until=due)

    def ids(self, queue: str = "all") -> list[str]:
        """Return the ids that are there, in their order."""
        backend = self.gator(queue).backend
        if self.dsn.startswith("redis"):
            return list(backend.conn.zrange(queue, 0, -1))
        rows = backend.conn.execute(f"select task_id from queue_{queue} order by rowid")
        return [task_id for (task_id,) in rows]

    def close(self) -> None:
        for gator in self._gators.values():
            gator.backend.conn.close()


def stored(**changes: Any) -> dict[str, Any]:
    """Return what Alligator 1.0 stores for a task."""
    task = alligator.Task(task_id="t")
    task.to_call(tasks.note, 1)
    data: dict[str, Any] = json.loads(task.serialize())
    return data | changes
