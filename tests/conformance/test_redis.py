"""The conformance suite on Redis and Valkey."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from alligator_sql.backends import Backend
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.backends.redis import backend as backend_module
from alligator_sql.messages import Progress
from alligator_sql.outcomes import Settlement, Succeeded
from alligator_sql.testing.conformance import BackendConformance, message
from tests.helpers import free_port, wait_until
from tests.redis_servers import RedisServer, advance

DOCUMENT = Path(__file__).parents[2] / "docs" / "redis.md"


class TestRedis(BackendConformance):
    @pytest.fixture
    def backend(self, redis_dsn: str) -> Iterator[RedisBackend]:
        backend = RedisBackend(redis_dsn)
        yield backend
        backend.close()

    def advance(self, backend: Backend, seconds: float) -> None:
        assert isinstance(backend, RedisBackend)
        advance(backend, seconds)

    def test_a_batch_may_be_for_several_queues(
        self, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backend_module, "BATCH", 2)  # so that a queue takes several
        sent = [message(queue) for _ in range(5) for queue in ("mail", "images", "reports")]
        sent.append(message("images", task_id=sent[1].task_id))
        for again in (False, True):
            receipts = backend.enqueue(sent)
            assert [receipt.id for receipt in receipts] == [one.id for one in sent]
            assert [receipt.duplicate for receipt in receipts] == [again] * 15 + [True]
        claims = self.claim_all(backend, "images", "reports", "mail")
        assert [claim.queue for claim in claims] == ["images"] * 5 + ["reports"] * 5 + ["mail"] * 5
        assert backend.ack([Settlement(claim, Succeeded()) for claim in claims]) == {
            one.id for one in sent
        }

    def test_what_concerns_running_tasks_reaches_those_of_several_queues(
        self, backend: RedisBackend
    ) -> None:
        queues = ("mail", "images", "reports")
        sent = [message(queue) for queue in queues]
        backend.enqueue(sent)
        worker = self.worker(backend, *queues)
        claims = backend.claim(queues, 10, worker)
        ids = {claim.id for claim in claims}
        assert ids == {one.id for one in sent}
        assert backend.begin(claims) == ids
        backend.report(worker, {task_id: Progress(50.0) for task_id in ids})
        for one in sent:
            record = backend.find(one.task_id)
            assert record is not None
            assert record.started_at is not None
            assert record.progress == Progress(50.0)
            assert backend.cancel(one.queue, one.task_id) == one.payload
        assert backend.canceled(worker, ids) == ids
        assert backend.canceled(worker, {sent[0].id}) == {sent[0].id}


@pytest.fixture(scope="module")
def cluster_server() -> Iterator[RedisServer]:
    """A server that refuses what touches several slots at once."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer("valkey", *options) as server:
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


class TestRights(TestRedis):
    """With no more rights than the documentation asks for."""

    @pytest.fixture
    def redis_dsn(self, redis_server: RedisServer) -> Iterator[str]:
        _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition("```sh\nredis-cli ")
        command, end, _ = rest.partition("```")
        assert end
        with redis_server.client() as client:
            client.execute_command(*shlex.split(command.replace("\\\n", "")))
            yield redis_server.dsn().replace("//", "//shop:secret@")
            client.execute_command("ACL", "DELUSER", "shop")
            client.flushall()

    @pytest.fixture(autouse=True)
    def clock(self, redis_server: RedisServer) -> Iterator[None]:
        """Whoever moves the clock needs more rights."""
        self.owner = RedisBackend(redis_server.dsn())
        yield
        self.owner.close()

    def advance(self, backend: Backend, seconds: float) -> None:
        advance(self.owner, seconds)

    def test_the_settings_of_the_server_may_be_read(
        self, backend: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        backend.open()
        assert caplog.records == []
