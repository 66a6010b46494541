"""What the attendant carries is carried, even when the store was away."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from alligator_sql import StoreUnavailableError, TaskContext
from alligator_sql.backends.locmem import LocalMemoryBackend
from alligator_sql.messages import Progress
from alligator_sql.workers.services.attendant import Attendant

from .test_execution import claim_of


class Away(LocalMemoryBackend):
    """Local memory that is away once."""

    def __init__(self) -> None:
        super().__init__(f"locmem://{uuid4()}")
        self.is_away = True
        self.reported: list[Progress] = []

    def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
        if self.is_away:
            self.is_away = False
            raise StoreUnavailableError("gone")
        self.reported += progress.values()


def test_progress_survives_a_store_that_is_away() -> None:
    backend, context = Away(), TaskContext(claim_of(""), reports=True)
    attendant = Attendant(backend, 30, uuid4, set, lambda: [context], lambda _ids: None)
    context.progress(10)
    with pytest.raises(StoreUnavailableError):
        attendant.finished()
    attendant.finished()
    attendant.finished()
    assert backend.reported == [Progress(10)]


def test_newer_words_replace_those_that_could_not_be_sent() -> None:
    context = TaskContext(claim_of(""), reports=True)

    class Speaking(Away):
        def report(self, worker: UUID, progress: Mapping[UUID, Progress]) -> None:
            if self.is_away:
                context.progress(20)
            super().report(worker, progress)

    backend = Speaking()
    attendant = Attendant(backend, 30, uuid4, set, lambda: [context], lambda _ids: None)
    context.progress(10)
    with pytest.raises(StoreUnavailableError):
        attendant.finished()
    attendant.finished()
    assert backend.reported == [Progress(20)]


def test_words_that_come_while_others_are_taken_are_not_lost() -> None:
    class Hasty(TaskContext):
        """Says more just when somebody has read what it said."""

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "said" and value == Progress(10):
                self.progress(20)
            return value

    backend, context = Away(), Hasty(claim_of(""), reports=True)
    backend.is_away = False
    attendant = Attendant(backend, 30, uuid4, set, lambda: [context], lambda _ids: None)
    context.progress(10)
    attendant.finished()
    attendant.finished()
    attendant.finished()
    assert backend.reported == [Progress(10), Progress(20)]
