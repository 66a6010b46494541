"""Task classes as users of Alligator 1.0 wrote them."""

import gzip
import json
from typing import Any, Self

from alligator_sql import Task
from alligator_sql.messages import Payload

from .tasks import journal


class CompressedTask(Task):
    """Stores bytes."""

    def serialize(self) -> Payload:
        data = super().serialize()
        assert isinstance(data, str)
        return gzip.compress(data.encode())

    @classmethod
    def deserialize(cls, data: Payload) -> Self:
        assert isinstance(data, bytes)
        return super().deserialize(gzip.decompress(data).decode())


class TracedTask(Task):
    """Carries an option of its own to the worker."""

    def __init__(self, *args: Any, trace: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trace = trace

    def serialize(self) -> Payload:
        return json.dumps(json.loads(super().serialize()) | {"trace": self.trace})

    @classmethod
    def deserialize(cls, data: Payload) -> Self:
        task = super().deserialize(data)
        task.trace = json.loads(data)["trace"]
        return task

    def run(self) -> Any:
        journal.append(f"trace {self.trace}")
        return super().run()


class PatientTask(Task):
    """Has another default for an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("retries", 5)
        super().__init__(*args, **kwargs)
