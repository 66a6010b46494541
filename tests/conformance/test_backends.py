"""The conformance suite, on every backend that we ship."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from alligator_sql.backends import Backend
from alligator_sql.backends.locmem import LocalMemoryBackend
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.testing.clock import ManualClock, advance
from alligator_sql.testing.conformance import BackendConformance
from tests.helpers import in_transactions


class TestLocalMemory(BackendConformance):
    @pytest.fixture
    def backend(self) -> LocalMemoryBackend:
        self.clock = ManualClock()
        return LocalMemoryBackend(f"locmem://{uuid4()}", clock=self.clock)

    def advance(self, backend: Backend, seconds: float) -> None:
        self.clock.advance(seconds)


class _OnSQL(BackendConformance):
    def advance(self, backend: Backend, seconds: float) -> None:
        assert isinstance(backend, SQLBackend)
        advance(backend, seconds)

    def connect(self, backend: Backend) -> Connection:
        assert isinstance(backend, SQLBackend)
        return in_transactions(backend.engine).connect()


class TestSQLite(_OnSQL):
    @pytest.fixture
    def backend(self, sqlite_dsn: str) -> Iterator[SQLBackend]:
        backend = SQLBackend(sqlite_dsn)
        yield backend
        backend.close()


class TestPostgreSQL(_OnSQL):
    @pytest.fixture
    def backend(self, postgres_dsn: str) -> Iterator[SQLBackend]:
        backend = SQLBackend(postgres_dsn)
        yield backend
        backend.close()
