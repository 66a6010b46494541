"""The conformance suite on Redis and Valkey."""

from collections.abc import Iterator

import pytest

from alligator_sql.backends import Backend
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.testing.conformance import BackendConformance
from tests.helpers import wait_until
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


@pytest.fixture(scope="module")
def cluster_server() -> Iterator[RedisServer]:
    """A server that refuses what touches several slots at once."""
    with RedisServer("valkey", "--cluster-enabled", "yes") as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
        yield server


class TestCluster(TestRedis):
    @pytest.fixture
    def redis_dsn(self, cluster_server: RedisServer) -> Iterator[str]:
        yield cluster_server.dsn()
        with cluster_server.client() as client:
            client.flushall()
