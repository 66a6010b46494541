"""The conformance suite on Redis and Valkey."""

from collections.abc import Iterator

import pytest

from alligator_sql.backends import Backend
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.testing.conformance import BackendConformance
from tests.redis_servers import RedisServer, advance


class TestRedis(BackendConformance):
    @pytest.fixture
    def backend(self, redis_dsn: str) -> Iterator[RedisBackend]:
        backend = RedisBackend(redis_dsn)
        yield backend
        backend.close()

    def advance(self, backend: Backend, seconds: float) -> None:
        assert isinstance(backend, RedisBackend)
        advance(backend, seconds)


class TestCluster(TestRedis):
    """A server that refuses what touches several slots at once."""

    @pytest.fixture(scope="class")
    def redis_server(self) -> Iterator[RedisServer]:
        with RedisServer("valkey", "--cluster-enabled", "yes") as server:
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                while b"cluster_state:ok" not in client.execute_command("CLUSTER INFO"):
                    pass
            yield server
