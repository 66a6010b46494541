"""Listeners that cannot die quietly: they prove that they hear, and workers poll when not."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from alligator_sql import Gator, Worker
from alligator_sql.backends.sql import listeners, schema
from alligator_sql.backends.sql.wakeups import Wakeups
from alligator_sql.exceptions import (
    InvalidOptionError,
    StoreUnavailableError,
    UnknownBackendError,
    Unsupported,
)
from alligator_sql.workers import polling
from tests.helpers import PATIENCE, Background, wait_until
from tests.pooler import Pooler
from tests.postgres_clusters import Cluster
from tests.proxy import Proxy

from . import gates, tasks
from .commands import run
from .processes import Process

pytestmark = pytest.mark.slow

LISTENING = "select pid from pg_stat_activity where query like 'listen%'"


@pytest.fixture(scope="module")
def cluster(postgres18_server) -> Iterator[Cluster]:
    with Cluster.like(postgres18_server) as cluster:
        schema.upgrade(cluster.dsn())
        yield cluster


@pytest.fixture(autouse=True)
def _afresh(cluster, monkeypatch) -> None:
    gates.reset()
    monkeypatch.setattr(polling, "LONGEST_LISTENING", 3600.0)
    cluster.execute("truncate alligator_tasks, alligator_payloads, alligator_finished")
    monkeypatch.setattr(listeners, "PING_INTERVAL", 0.2)


@pytest.fixture
def pooler(cluster) -> Iterator[Pooler]:
    with Pooler(cluster.port) as pooler:
        yield pooler


@contextmanager
def opened(*arguments: str, **options: str) -> Iterator[Gator]:
    gator = Gator(*arguments, **options)  # type: ignore[arg-type]
    try:
        yield gator
    finally:
        gator.store.unlisten()
        gator.close()


@contextmanager
def working(gator: Gator) -> Iterator[Worker]:
    """Run a worker that does not look by itself while it listens, and every second while not."""
    worker = Worker(gator, nap_time=40 * 3600.0)
    running = Background(worker.run_forever)
    yield worker
    worker.stop()
    assert running.result() == 0
    for thread in threading.enumerate():  # it may be about to connect once more
        if thread.name == "alligator-listener":
            thread.join(PATIENCE)


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[object]:
    """Return a list that grows with each call of a method."""
    calls: list[object] = []
    method = getattr(owner, name)

    def call(*arguments: object) -> object:
        calls.append(arguments)
        return method(*arguments)

    monkeypatch.setattr(owner, name, call)
    return calls


def healthy(worker: Worker) -> bool:
    consumer = worker._consumer
    return consumer is not None and consumer._listening()


class TestProof:
    def test_what_it_tells_itself_is_no_news(self, cluster, monkeypatch):
        told = counted(monkeypatch, Wakeups, "_tell")
        with opened(cluster.dsn()) as gator:
            assert gator.store.listen(["all"], 0)
            assert len(told) == 1
            while len(told) < 3:
                assert not gator.store.listen(["all"], 0.3)
            gator.task(tasks.echo, 1)
            assert gator.store.listen(["all"], PATIENCE)

    def test_a_terminated_one_is_replaced_and_wakes_once(self, cluster):
        with opened(cluster.dsn()) as gator:
            gator.store.listen(["all"], 0)
            cluster.execute(f"select pg_terminate_backend(pid) from ({LISTENING}) as listening")
            with pytest.raises(StoreUnavailableError, match="The listening connection is lost"):
                gator.store.listen(["all"], PATIENCE)
            assert gator.store.listen(["all"], 0)
            assert not gator.store.listen(["all"], 0.1)

    def test_one_that_is_cut_off_in_silence_is_replaced(self, cluster, caplog, monkeypatch):
        """Nothing closes the connection: it only has nothing to say any more."""
        monkeypatch.setattr(listeners, "PING_PATIENCE", 2.0)
        caplog.set_level(logging.WARNING)
        with (
            Proxy(cluster.port) as proxy,
            opened(cluster.dsn(), listen_url=cluster.dsn(proxy.port)) as gator,
            working(gator) as worker,
        ):
            wait_until(lambda: healthy(worker))
            proxy.swallow("answers")
            gator.task(gates.quick, "deaf")
            wait_until(lambda: "the listening connection is dead" in caplog.text.lower())
            wait_until(lambda: not healthy(worker))
            wait_until(lambda: "deaf" in gates.current.ran)
            proxy.swallow()
            proxy.reset()  # what was swallowed is lost: such a connection can never be used again
            wait_until(lambda: "listener works again" in caplog.text)
            wait_until(lambda: healthy(worker))
            gator.task(gates.quick, "hears again")
            wait_until(lambda: "hears again" in gates.current.ran)


class TestPooler:
    def test_says_once_that_nothing_arrives_and_polls(self, pooler, cluster, caplog, monkeypatch):
        monkeypatch.setattr(listeners, "PING_PATIENCE", 0.1)
        caplog.set_level(logging.WARNING)
        proofs = counted(monkeypatch, listeners.PostgreSQLListener, "prove")
        with opened(cluster.dsn(pooler.port)) as gator, working(gator) as worker:
            wait_until(lambda: len(proofs) >= 3)
            assert not healthy(worker)
            for number in range(3):
                gator.task(gates.quick, str(number))
                wait_until(lambda: len(gates.current.ran) == number + 1)  # noqa: B023
        assert caplog.text.count("Give listen_url= a direct connection") == 1
        assert "works again" not in caplog.text

    def test_a_direct_connection_hears(self, pooler, cluster, caplog):
        caplog.set_level(logging.WARNING)
        with (
            opened(cluster.dsn(pooler.port), listen_url=cluster.dsn()) as gator,
            working(gator) as worker,
        ):
            wait_until(lambda: healthy(worker))
            gator.task(gates.quick, "told")
            wait_until(lambda: "told" in gates.current.ran)
        assert "listener" not in caplog.text

    def test_results_are_waited_for_all_the_same(self, pooler, cluster, monkeypatch):
        monkeypatch.setattr(listeners, "PING_PATIENCE", 0.2)
        with opened(cluster.dsn(pooler.port)) as gator, working(gator):
            task = gator.options(keep_result=True).task(tasks.add, 1, 2)
            assert gator.result(task.task_id, timeout=PATIENCE) == 3

    def test_it_is_told_once_how_to_limit_statements(self, pooler, cluster, caplog):
        with opened(cluster.dsn(pooler.port)) as gator:
            for _ in range(2):
                gator.len()
                gator.close()
        assert caplog.text.count("ALTER ROLE postgres SET statement_timeout = '30s'") == 1

    def test_settings_do_not_go_to_the_sessions_of_others(self, cluster, pooler, caplog):
        cluster.execute("alter role postgres set statement_timeout = '7s'")
        names = ("statement_timeout", "lock_timeout")
        try:
            with (
                opened(cluster.dsn(pooler.port)) as gator,
                gator.store._connections.statement() as connection,  # type: ignore[attr-defined]
            ):
                found = [connection.exec_driver_sql(f"show {name}").scalar() for name in names]
                patience = connection.connection.driver_connection.patience
        finally:
            cluster.execute("alter role postgres reset statement_timeout")
        assert found == ["7s", "0"]
        assert patience == 12
        assert "ALTER ROLE" not in caplog.text

    def test_the_command(self, pooler, cluster, tmp_path):
        worker = Process(
            tmp_path / "log", cluster.dsn(pooler.port), "--listen-url", cluster.dsn()
        )  # fmt: skip
        try:
            # The pooler names its own connections, so this one goes past it.
            wait_until(
                lambda: cluster.execute(f"{LISTENING} and application_name = 'alligator-sql'")
            )
            worker.says("consuming")
            assert "has trouble" not in worker.log
        finally:
            worker.close()


class TestListenURL:
    def test_one_that_leads_elsewhere_is_never_proven(self, cluster, postgres18_dsn, monkeypatch):
        monkeypatch.setattr(listeners, "PING_PATIENCE", 0.2)
        with (
            opened(cluster.dsn(), listen_url=postgres18_dsn) as gator,
            pytest.raises(StoreUnavailableError, match="direct connection to the same database"),
        ):
            gator.store.listen(["all"], 0)

    def test_one_that_nobody_answers(self, cluster):
        with (
            opened(cluster.dsn(), listen_url="postgresql://u:secret@127.0.0.1:1/x") as gator,
            pytest.raises(StoreUnavailableError, match="No connection to listen on") as refused,
        ):
            gator.store.listen(["all"], 0)
        assert "secret" not in str(refused.value)

    @pytest.mark.parametrize("store", ["sqlite:///tasks.db", "postgresql://u@host/x"])
    def test_it_has_to_lead_to_postgresql(self, store):
        with pytest.raises(InvalidOptionError, match="listen_url= is for tasks in PostgreSQL"):
            Gator(store, listen_url="sqlite:///other.db")
        with pytest.raises(UnknownBackendError, match="cannot be read"):
            Gator(store, listen_url="nonsense")

    def test_other_stores_refuse_it(self):
        with pytest.raises(Unsupported, match="the Redis backend has no such option"):
            Gator("redis://localhost/0", listen_url="postgresql://u@host/x")

    def test_the_command_refuses_it_too(self, tmp_path):
        refused = run(
            "worker", f"sqlite:///{tmp_path}/tasks.db", "--listen-url", "sqlite:///other.db"
        )
        assert refused.returncode == 1
        assert "listen_url= is for tasks in PostgreSQL" in refused.stderr
