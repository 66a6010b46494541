"""Clients as users of Alligator 1.0 wrote them: five methods."""

import time
from itertools import count

from alligator_sql.messages import Payload


class ListClient:
    """Tasks in lists, with the due time beside each."""

    def __init__(self, conn_string: str) -> None:
        self.conn_string = conn_string
        self.queues: dict[str, list[tuple[str, Payload, float]]] = {}

    def len(self, queue_name: str) -> int:
        return len(self.queues.get(queue_name, []))

    def drop_all(self, queue_name: str) -> None:
        self.queues[queue_name] = []

    def push(
        self, queue_name: str, task_id: str, data: Payload, delay_until: float | None = None
    ) -> str:
        self.queues.setdefault(queue_name, []).append((task_id, data, delay_until or 0.0))
        return task_id

    def pop(self, queue_name: str) -> Payload | None:
        return self._take(queue_name, lambda task_id, due: due <= time.time())

    def get(self, queue_name: str, task_id: str) -> Payload | None:
        return self._take(queue_name, lambda known, due: known == task_id)

    def _take(self, queue_name, wanted) -> Payload | None:
        tasks = self.queues.get(queue_name, [])
        for index, (task_id, data, due) in enumerate(tasks):
            if wanted(task_id, due):
                del tasks[index]
                return data
        return None


class EarlyClient(ListClient):
    """A client from before tasks could be delayed."""

    def push(self, queue_name: str, task_id: str, data: Payload) -> str:  # type: ignore[override]
        return super().push(queue_name, task_id, data)


class NumberingClient(ListClient):
    """A store that gives each message an id of its own, as SQS does."""

    def __init__(self, conn_string: str) -> None:
        super().__init__(conn_string)
        self._numbers = count(1)

    def push(
        self, queue_name: str, task_id: str, data: Payload, delay_until: float | None = None
    ) -> str:
        return super().push(queue_name, f"message-{next(self._numbers)}", data, delay_until)
