"""The conformance suite on the backend that docs/writing-a-backend.md explains."""

from pathlib import Path

import pytest

from alligator_sql.testing.clock import ManualClock
from alligator_sql.testing.conformance import BackendConformance
from examples.file_backend.file_backend import FileBackend


class TestFileBackend(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> FileBackend:
        self.clock = ManualClock()
        return FileBackend(f"jsonfile://{tmp_path}/tasks.json", clock=self.clock)

    def advance(self, backend: object, seconds: float) -> None:
        self.clock.advance(seconds)
