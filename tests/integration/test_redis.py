"""What a Redis server may do to us, and what we do about it."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis
from redis.crc import key_slot

from alligator_sql import Gator, Worker
from alligator_sql.backends.redis import RedisBackend, keys, listeners
from alligator_sql.backends.redis import backend as backend_module
from alligator_sql.exceptions import (
    InvalidOptionError,
    QueueFull,
    SchemaError,
    StoreUnavailableError,
    UnsafeStoreError,
    Unsupported,
)
from alligator_sql.messages import Moment, Progress, WorkerRecord
from alligator_sql.outcomes import Canceled, Failed, Released, Settlement, Succeeded
from alligator_sql.testing.conformance import FAILURE, message
from tests.compat.tasks import add, journal, note
from tests.helpers import PATIENCE, Background, wait_until
from tests.proxy import Proxy
from tests.redis_servers import RedisServer, advance
from tests.tls import TLS

from .tasks import append_slowly, wait_for_file

TROUBLE = "the store has trouble, trying on"


@pytest.fixture
def backend(redis_dsn: str) -> Iterator[RedisBackend]:
    backend = RedisBackend(redis_dsn)
    yield backend
    backend.close()


@pytest.fixture
def server(own_redis_server: RedisServer) -> RedisServer:
    """A server that a test may spoil."""
    return own_redis_server


@pytest.fixture
def own(server: RedisServer) -> Iterator[RedisBackend]:
    """A backend on it."""
    backend = RedisBackend(server.dsn())
    yield backend
    backend.close()


def worker_of(backend: RedisBackend, *queues: str) -> UUID:
    record = WorkerRecord(uuid4(), "host", 1, queues or ("mail",), 30.0)
    assert backend.heartbeat(record, first=True)
    return record.id


# What a server is asked when it is first used


def test_a_server_that_evicts_tasks_is_refused(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnsafeStoreError, match=r"allkeys-lru.*noeviction"):
        Gator(server.dsn()).task(add, 1, 2)
    with server.client() as client:
        assert client.dbsize() == 0


def test_doubtful_settings_are_warned_about_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        client.config_set("appendonly", "no")
    gator = Gator(server.dsn())
    gator.task(add, 1, 2)
    gator.task(add, 1, 2)
    eviction, persistence = [record.getMessage() for record in caplog.records]
    assert "volatile-lru" in eviction
    assert "its restart loses all tasks" in persistence


def test_a_sound_server_is_not_warned_about(
    backend: RedisBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.open()
    assert caplog.records == []


def test_settings_that_may_not_be_read_are_told(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">pw", "~alligator:*", "&alligator:*", "+@all", "-config"
        )
    gator = Gator(f"redis://app:pw@127.0.0.1:{server.port}/0")
    gator.task(add, 1, 2)
    assert gator.pop() == 3
    [record] = caplog.records
    assert "could not check" in record.getMessage()
    assert "CONFIG is not allowed" in record.getMessage()


def test_a_server_that_evicts_tasks_is_refused_though_config_is_forbidden(
    server: RedisServer,
) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">pw", "~alligator:*", "&alligator:*", "+@all", "-config"
        )
    with pytest.raises(UnsafeStoreError, match="allkeys-lfu"):
        Gator(f"redis://app:pw@127.0.0.1:{server.port}/0").task(add, 1, 2)


def test_a_server_that_tells_nothing_works_and_that_is_told(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">pw", "~alligator:*", "&alligator:*",
            "+@all", "-config", "-info",
        )  # fmt: skip
    gator = Gator(f"redis://app:pw@127.0.0.1:{server.port}/0")
    gator.task(add, 1, 2)
    gator.task(add, 1, 2)
    assert [gator.pop(), gator.pop()] == [3, 3]
    eviction, persistence = [record.getMessage() for record in caplog.records]
    assert "INFO is not allowed" in eviction
    assert "CONFIG is not allowed" in persistence


# Bad input


def test_a_wrong_password_is_refused_and_hidden(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("requirepass", "right")
    with pytest.raises(StoreUnavailableError) as caught:
        Gator(f"redis://:wr0ng@127.0.0.1:{server.port}/0").task(add, 1, 2)
    assert "WRONGPASS" in str(caught.value) or "invalid" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_host_that_is_not_there_is_told() -> None:
    with pytest.raises(StoreUnavailableError, match=r"nowhere\.invalid"):
        Gator("redis://nowhere.invalid:1/0").task(add, 1, 2)


def test_a_database_that_is_not_there_is_told(server: RedisServer) -> None:
    with pytest.raises(StoreUnavailableError, match=r"(?i)out of range"):
        Gator(server.dsn(99)).task(add, 1, 2)


@pytest.mark.parametrize(
    ("conn_string", "wrong"),
    [
        ("redis://localhost/one", "one"),
        ("redis://localhost/0?colour=red", "colour"),
        ("redis://localhost:port/0", "port"),
        ("redis://localhost/0?decode_responses=true", "decode_responses"),
        ("redis://localhost/0?max_connections=1", "max_connections"),
        ("redis://localhost/0?db=first", "db"),
        ("redis://localhost/0?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("unix:///run/redis.sock?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_a_connection_string_is_checked_early(conn_string: str, wrong: str) -> None:
    with pytest.raises(InvalidOptionError, match=wrong):
        Gator(conn_string)


def test_joining_a_transaction_names_who_can() -> None:
    with pytest.raises(Unsupported, match="PostgreSQL"):
        Gator("redis://localhost/0").using(object())


@pytest.mark.parametrize("which", [*keys.Keys._fields[:-1], "task"])
def test_a_key_of_another_kind_in_the_way_is_told(backend: RedisBackend, which: str) -> None:
    worker = worker_of(backend)
    task = keys.task("mail", message(task_id="x").id.hex)
    key = task if which == "task" else getattr(keys.of("mail"), which)
    backend.connections.call([("SET", key, "something else")])
    with pytest.raises(SchemaError, match="has other data"):
        backend.enqueue([message(task_id="x", unique_key="k")])
    with pytest.raises(SchemaError) if which != "task" else nullcontext():
        backend.claim(["mail"], 1, worker)
    backend.connections.call([("DEL", key)])
    assert [backend.len("mail"), backend.rescue(3), backend.prune(0.0, 0.0)] == [0, [], 0]


def test_what_is_no_task_of_ours_is_dropped_and_told(
    backend: RedisBackend, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(backend)
    ready = keys.of("mail").ready
    backend.connections.call([("ZADD", ready, -(2**60), "intruder")])
    backend.connections.call([("ZADD", ready, -(2**60), b"\xff")])
    backend.connections.call([("HSET", keys.task("mail", "no-uuid"), "func", "os:system")])
    backend.connections.call([("ZADD", ready, -(2**60), "no-uuid")])
    [receipt] = backend.enqueue([message()])
    assert [claim.id for claim in backend.claim(["mail"], 10, worker)] == [receipt.id]
    assert sum("no task of ours" in record.getMessage() for record in caplog.records) == 3
    assert backend.claim(["mail"], 10, worker) == []


def test_a_task_whose_payload_is_gone_fails_alone(redis_dsn: str) -> None:
    gator = Gator(redis_dsn)
    lost, sound = gator.task(add, 1, 2), gator.task(add, 3, 4)
    gator.store.connections.call(  # type: ignore[attr-defined]
        [("HDEL", keys.task("all", UUID(lost.task_id).hex), "payload")]
    )
    Worker(gator, burst=True).run_forever()
    records = [gator.find(task.task_id) for task in (lost, sound)]
    assert [record and record.status_name for record in records] == ["failed", "success"]


def test_a_task_is_found_though_the_name_of_its_queue_was_lost(
    backend: RedisBackend, redis_dsn: str
) -> None:
    [receipt] = backend.enqueue([message()])
    other = RedisBackend(redis_dsn)
    backend.connections.call([("DEL", keys.QUEUES)])
    assert backend.find(str(receipt.id)) is not None
    assert other.find(str(receipt.id)) is None
    worker_of(backend)  # its heartbeat tells the name again
    assert other.find(str(receipt.id)) is not None
    other.close()


def test_a_unique_key_of_a_task_that_others_removed_is_free(backend: RedisBackend) -> None:
    [removed] = backend.enqueue([message(unique_key="k")])
    backend.connections.call([("DEL", keys.task("mail", removed.id.hex))])
    [receipt] = backend.enqueue([message(unique_key="k")])
    assert not receipt.duplicate
    assert backend.enqueue([message(unique_key="k")])[0].id == receipt.id


def test_a_task_whose_payload_is_gone_can_be_canceled(backend: RedisBackend) -> None:
    [receipt] = backend.enqueue([message(task_id="x")])
    backend.connections.call([("HDEL", keys.task("mail", receipt.id.hex), "payload")])
    assert backend.cancel("mail", "x") == ""
    assert backend.len("mail") == 0


SPOILED = (("DEL",), ("SET", "something else"))


@pytest.mark.parametrize("how", ["rescue", "reconcile"])
@pytest.mark.parametrize("spoil", SPOILED)
def test_a_running_task_that_others_removed_holds_up_no_others(
    backend: RedisBackend, spoil: tuple[str, ...], how: str
) -> None:
    spoiled, sound = backend.enqueue([message(), message()])
    worker = worker_of(backend)
    assert len(backend.claim(["mail"], 2, worker)) == 2
    command, *value = spoil
    backend.connections.call([(command, keys.task("mail", spoiled.id.hex), *value)])
    if how == "rescue":
        backend.leave(worker, holds=True)
        assert backend.rescue(3) == [sound.id]
    else:
        assert backend.reconcile(worker, set()) == [sound.id]
    assert backend.connections.call([("HLEN", keys.of("mail").running)]) == [0]


@pytest.mark.parametrize("spoil", SPOILED)
def test_an_ended_task_that_others_removed_holds_up_no_pruning(
    backend: RedisBackend, spoil: tuple[str, ...]
) -> None:
    spoiled, sound = sent = [message(task_id="again"), message()]
    backend.enqueue(sent)
    claims = backend.claim(["mail"], 2, worker_of(backend))
    backend.ack([Settlement(claim, Succeeded()) for claim in claims])
    advance(backend, 1)
    command, *value = spoil
    backend.connections.call([(command, keys.task("mail", spoiled.id.hex), *value)])
    if command == "DEL":
        assert not backend.enqueue([spoiled])[0].duplicate
    assert backend.prune(0.0, 0.0) == 2
    assert backend.find(str(sound.id)) is None
    found = backend.find("again")
    assert (found and found.status_name) == ("waiting" if command == "DEL" else None)


# Memory


def test_what_is_over_leaves_nothing_behind(backend: RedisBackend) -> None:
    """Whatever its life was like: a server that runs for years must not fill up."""
    sent = [message(unique_key=f"k{number}", tags=("a",)) for number in range(8)]
    backend.enqueue(sent)
    dead, worker = worker_of(backend), worker_of(backend)
    crashed, canceled, *_ = backend.claim(["mail"], 3, dead, begins=True)
    backend.report(dead, {crashed.id: Progress(50.0, "half")})
    assert backend.cancel("mail", sent[1].task_id)
    backend.leave(dead, holds=True)
    assert len(backend.rescue(3)) == 3
    one, two, three, four, *_ = claims = backend.claim(["mail"], 7, worker)
    assert canceled.id not in {claim.id for claim in claims}
    assert backend.begin(claims) == {claim.id for claim in claims}
    backend.report(worker, {claim.id: Progress(10.0) for claim in claims})
    for claim in (one, two):
        assert backend.cancel("mail", str(claim.id))
    assert (
        len(
            backend.ack(
                [
                    Settlement(one, Released()),  # which ends it: it was canceled
                    Settlement(two, Succeeded(1, result="1")),
                    Settlement(three, Failed(FAILURE)),
                    Settlement(four, Canceled(FAILURE)),
                    *(Settlement(claim, Succeeded(problem="no JSON")) for claim in claims[4:]),
                ]
            )
        )
        == len(claims)
    )
    backend.leave(worker, holds=False)
    advance(backend, 1)
    assert backend.prune(0.0, 0.0) == 8
    [left] = backend.connections.call([("KEYS", "*")])
    assert set(left) == {name.encode() for name in (keys.QUEUES, keys.of("mail").queue)}


def test_a_full_server_refuses_tasks_and_workers_empty_it(
    redis_server: RedisServer,
    redis_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gator = Gator(redis_dsn)
    for _ in range(20):
        gator.task(add, "x" * 1000, "y")
    with redis_server.client() as client:
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(QueueFull, match="maxmemory"):
                gator.task(add, 1, 2)
            with pytest.raises(QueueFull):
                gator.map(note, [1])
            monkeypatch.setattr(backend_module, "BATCH", 2)
            with pytest.raises(QueueFull, match="maxmemory"):
                gator.map(note, range(5))  # in a transaction
            assert gator.len() == 20
            worker = Worker(Gator(redis_dsn), burst=True)  # which was not there before
            worker.run_forever()
            assert (worker.tasks_complete, gator.len()) == (20, 0)
            assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == []
        finally:
            client.config_set("maxmemory", "0")


# Trouble


def test_a_killed_server_has_everything_when_it_is_back(
    server: RedisServer, own: RedisBackend
) -> None:
    sent = [message() for _ in range(50)]
    own.enqueue(sent)
    [held] = own.claim(["mail"], 1, worker_of(own))
    server.kill()
    server.start()
    [late] = own.enqueue([message()])
    assert not late.duplicate
    assert own.ack([Settlement(held, Succeeded())]) == {held.id}
    claims = own.claim(["mail"], 100, worker_of(own))
    assert [claim.id for claim in claims] == [*(one.id for one in sent[1:]), late.id]


def test_a_server_that_still_loads_its_tasks_is_waited_for() -> None:
    slow = ("--appendfsync", "always", "--key-load-delay", "100")  # microseconds
    with RedisServer("valkey", *slow) as server:
        backend = RedisBackend(server.dsn())
        backend.enqueue([message() for _ in range(3000)])
        server.kill()
        starting = Background(server.start)
        troubles: list[str] = []

        def loaded() -> bool:
            try:
                backend.claim(["mail"], 1, uuid4())  # which is tried only once
            except StoreUnavailableError as error:
                troubles.append(str(error))
                return False
            return True

        wait_until(loaded)
        starting.result()
        assert any("loading" in trouble.lower() for trouble in troubles), troubles
        assert backend.len("mail") == 3000
        backend.close()


def test_scripts_that_the_server_forgot_are_loaded_again(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "BATCH", 1)  # so that they run in a transaction, too
    worker = worker_of(backend)
    for _ in range(2):
        backend.connections.call([("SCRIPT", "FLUSH")])
        backend.enqueue([message("mail"), message("other"), message("mail")])
        assert len(backend.claim(["mail", "other"], 2, worker)) == 2
    assert backend.len("mail") + backend.len("other") == 2


def test_connections_that_were_cut_are_made_again(backend: RedisBackend) -> None:
    backend.enqueue([message()])
    backend.connections.call([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
    with redis.Redis.from_url(f"redis://127.0.0.1:{_port(backend)}/0") as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert not backend.enqueue([message()])[0].duplicate
    assert backend.len("mail") == 2


def _port(backend: RedisBackend) -> int:
    [answer] = backend.connections.call([("CONFIG", "GET", "port")])
    return int(answer[1])


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def remote(proxy: Proxy) -> Iterator[RedisBackend]:
    """A backend that notices within two seconds when answers get lost."""
    backend = RedisBackend(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=2")
    yield backend
    backend.close()


def test_a_task_whose_receipt_was_lost_is_stored_once(proxy: Proxy, remote: RedisBackend) -> None:
    remote.enqueue([message()])
    proxy.swallow("answers")
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(remote.enqueue, [message()])
        assert proxy.swallowing.wait(PATIENCE)
        proxy.swallow()  # what was lost stays lost
        [receipt] = sending.result(PATIENCE)
    assert not receipt.duplicate
    assert remote.len("mail") == 2


def test_whether_a_task_was_canceled_is_not_guessed(proxy: Proxy, remote: RedisBackend) -> None:
    """A second try would find it canceled, and say that there was nothing to cancel."""
    remote.enqueue([message(task_id="mistake")])
    for change, left in ((remote.cancel, 0), (remote.retry, 1)):
        proxy.swallow("answers")
        with pytest.raises(StoreUnavailableError):
            change("mail", "mistake")
        proxy.reset()
        proxy.swallow()
        assert remote.len("mail") == left, "it was done, though nobody heard of it"


def test_claims_whose_answer_was_lost_are_handed_back(proxy: Proxy, remote: RedisBackend) -> None:
    sent = [message() for _ in range(3)]
    remote.enqueue(sent)
    worker = worker_of(remote)
    [known] = remote.claim(["mail"], 1, worker)
    proxy.swallow("answers")
    with pytest.raises(StoreUnavailableError):
        remote.claim(["mail"], 5, worker)
    proxy.swallow()
    assert set(remote.reconcile(worker, {known.id})) == {one.id for one in sent[1:]}
    again = remote.claim(["mail"], 5, worker)
    assert [(claim.id, claim.attempts) for claim in again] == [(one.id, 1) for one in sent[1:]]


def test_a_listener_notices_that_its_connection_is_dead(
    proxy: Proxy, remote: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "PING_AFTER", 0.2)
    monkeypatch.setattr(listeners, "DEAD_AFTER", 2.0)
    remote.enqueue([message()])
    assert remote.listen(["mail"], 0.0)
    assert not remote.listen(["mail"], 1.0)
    proxy.swallow("answers")
    with pytest.raises(StoreUnavailableError, match="no sign of life"):
        remote.listen(["mail"], PATIENCE)
    proxy.swallow()
    assert remote.listen(["mail"], 0.0)
    remote.unlisten()


def test_a_listener_whose_connection_was_cut_listens_again(backend: RedisBackend) -> None:
    assert backend.listen(["mail"], 0.0)
    assert not backend.listen(["mail"], 0.05)
    backend.connections.call([("CLIENT", "KILL", "TYPE", "pubsub")])
    with pytest.raises(StoreUnavailableError):
        backend.listen(["mail"], PATIENCE)
    assert backend.listen(["mail"], PATIENCE), "it may have missed something"
    while backend.listen(["mail"], 0.05):
        pass
    backend.enqueue([message()])
    assert backend.listen(["mail"], PATIENCE)
    backend.unlisten()


def test_a_worker_in_a_bad_network_runs_each_task_once(
    proxy: Proxy, server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever gets lost on the way, it lives on: it sends its outcomes again, with fences."""
    done = tmp_path / "done"
    done.touch()
    near = Gator(server.dsn())
    far = Gator(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.5")
    worker = Worker(far, concurrency=4)
    thread = Background(worker.run_forever)

    def wait_for(count: int) -> None:
        wait_until(lambda: worker.tasks_complete >= count)

    def heal() -> None:
        proxy.reset()  # of what was lost, nothing comes later
        proxy.swallow()
        proxy.flow()

    def reset() -> None:
        proxy.reset()
        threading.Event().wait(0.7)

    def silently(spoil: Callable[[], None]) -> Callable[[], None]:
        def spoil_until_it_is_noticed() -> None:
            told = caplog.text.count(TROUBLE)
            spoil()
            wait_until(lambda: caplog.text.count(TROUBLE) > told)

        return spoil_until_it_is_noticed

    troubles = (
        reset,
        silently(lambda: proxy.swallow("answers")),
        silently(lambda: proxy.swallow("questions")),
        silently(proxy.stall),
    )
    for number, spoil in enumerate(troubles):
        before = number * 100
        for line in range(before, before + 100):
            near.task(append_slowly, str(done), str(line))
        wait_for(before + 20)
        spoil()
        heal()
        wait_for(before + 100)
    worker.stop()
    thread.result()
    assert sorted(map(int, done.read_text().split())) == list(range(400))
    assert near.len() == 0
    assert near.store.connections.call([("HLEN", keys.of("all").running)]) == [0]  # type: ignore[attr-defined]
    far.close()


def test_a_failover_to_another_server_loses_nothing(
    proxy: Proxy, server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "BATCH", 10)  # so that a batch takes a transaction
    done, until = tmp_path / "done", tmp_path / "until"
    done.touch()
    far = Gator(f"redis://127.0.0.1:{proxy.port}/0")
    producer = Gator(f"redis://127.0.0.1:{proxy.port}/0")
    worker = Worker(far, concurrency=4)
    with RedisServer("valkey") as successor, successor.client() as new, server.client() as old:
        old.config_set("repl-diskless-sync-delay", "0")
        new.replicaof("127.0.0.1", str(server.port))
        wait_until(lambda: new.info("replication")["master_link_status"] == "up")
        for line in range(100):
            producer.task(append_slowly, str(done), str(line))
            if line == 50:  # so that the failover comes in mid-run, however long it takes
                for _ in range(4):
                    producer.task(wait_for_file, str(tmp_path / "started"), str(until))
        thread = Background(worker.run_forever)
        wait_until(lambda: worker.tasks_complete >= 20)
        old.execute_command("FAILOVER", "TO", "127.0.0.1", successor.port, "TIMEOUT", 10_000)
        wait_until(lambda: new.info("replication")["role"] == "master")
        wait_until(lambda: old.info("replication")["role"] == "slave")
        assert worker.tasks_complete < 100
        until.touch()
        proxy.lead_to(successor.port)  # the connections to the former primary are left open
        journal.clear()
        assert producer.map(note, range(30)) == 30
        wait_until(lambda: worker.tasks_complete == 134)
        worker.stop()
        thread.result()
        assert sorted(map(int, done.read_text().split())) == list(range(100))
        assert sorted(journal) == list(range(30))
        far.close()
        producer.close()


def test_a_replica_is_no_place_for_tasks_until_it_is_promoted(server: RedisServer) -> None:
    gator = Gator(server.dsn())
    gator.task(add, 1, 2)
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailableError, match=r"(?i)read only replica"):
            gator.task(add, 3, 4)
        client.replicaof("NO", "ONE")
    gator.task(add, 3, 4)
    assert gator.len() == 2


# Waking


def test_only_the_first_task_after_a_look_is_announced(backend: RedisBackend) -> None:
    worker = worker_of(backend)
    with backend.connections.pubsub() as pubsub:
        pubsub.subscribe(keys.wake_channel("mail"))
        assert pubsub.get_message(timeout=PATIENCE)
        assert backend.claim(["mail"], 1, worker) == []
        backend.enqueue([message() for _ in range(10)])
        for _ in range(10):
            backend.enqueue([message()])
        assert pubsub.get_message(timeout=PATIENCE)
        assert pubsub.get_message(timeout=0.2) is None
        assert len(backend.claim(["mail"], 20, worker)) == 20
        backend.enqueue([message()])  # the claim had all that it wanted
        assert pubsub.get_message(timeout=0.2) is None


def test_a_task_that_is_due_before_all_others_is_announced(backend: RedisBackend) -> None:
    worker = worker_of(backend)
    backend.enqueue([message(due=Moment(60.0))])
    backend.listen(["mail"], 0.0)
    for delay, announced in ((90.0, False), (30.0, True)):
        assert backend.claim(["mail"], 1, worker) == []
        while backend.listen(["mail"], 0.05):
            pass
        backend.enqueue([message(due=Moment(delay))])
        assert backend.listen(["mail"], PATIENCE if announced else 0.2) is announced
    due = backend.due_in(["mail"])
    assert due is not None
    assert 20 < due <= 30


# Many


def test_large_batches_are_stored_whole(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "BATCH", 10)
    monkeypatch.setattr(backend_module, "LARGEST_BATCH", 1000)
    sent = [message("mail" if number % 5 else "other", "x" * 300) for number in range(50)]
    sent.append(message("mail", "x" * 5000))
    sent.append(message("mail", task_id=sent[1].task_id))
    receipts = backend.enqueue(sent)
    assert [receipt.id for receipt in receipts] == [one.id for one in sent]
    assert [receipt.duplicate for receipt in receipts] == [False] * 51 + [True]
    assert (backend.len("mail"), backend.len("other")) == (41, 10)


def test_more_tasks_than_a_batch_are_rescued_pruned_and_dropped(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "BATCH", 7)
    sent = [message() for _ in range(30)]
    backend.enqueue(sent)
    worker = worker_of(backend)
    assert len(backend.claim(["mail"], 30, worker)) == 30
    advance(backend, 31)
    assert len(backend.rescue(3)) == 30
    claims = backend.claim(["mail"], 20, worker_of(backend))
    assert [claim.id for claim in claims] == [one.id for one in sent[:20]]
    backend.ack([Settlement(claim, Succeeded()) for claim in claims])
    advance(backend, 1)
    assert backend.prune(0.5, 0.5) == 20
    backend.drop_all("mail")
    assert backend.len("mail") == 0
    left = backend.connections.call([("KEYS", "*task:*")])
    assert left == [[]]


def test_thousands_that_become_due_at_once_come_in_order(backend: RedisBackend) -> None:
    backend.enqueue([message(due=Moment(60.0), priority=number % 3) for number in range(2500)])
    advance(backend, 61)
    worker = worker_of(backend)
    claimed = [claim.id for _ in range(5) for claim in backend.claim(["mail"], 500, worker)]
    assert len(set(claimed)) == 2500


def test_a_running_task_of_a_worker_that_nobody_knows_is_rescued(backend: RedisBackend) -> None:
    backend.enqueue([message()])
    worker = worker_of(backend)
    [claim] = backend.claim(["mail"], 1, worker)
    assert backend.rescue(3) == []
    backend.leave(worker, holds=False)
    assert backend.rescue(3) == []  # they were all looked at a moment ago
    backend.connections.call([("HINCRBY", keys.of("mail").queue, "checked", -400_000)])
    assert backend.rescue(3) == [claim.id]


@pytest.mark.parametrize("queue", ["mail", "{x}", "}{", "}", "{", "a{b}c", "%7B", "очередь"])
def test_all_keys_of_a_queue_are_in_one_slot(queue: str) -> None:
    names = [*keys.of(queue), keys.task(queue, "1"), keys.wake_channel(queue)]
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_queues_with_strange_names_have_keys_of_their_own() -> None:
    names = ["{", "}", "%7B", "%", "{}", "%7B%7D", "a", "A"]
    assert len({keys.base(name) for name in names}) == len(names)


# As users use it


def test_a_unix_socket_works(own_redis_server: RedisServer) -> None:
    gator = Gator(own_redis_server.socket_dsn)
    gator.task(add, 1, 2)
    assert gator.pop() == 3


def test_tls_works_and_is_checked(server: RedisServer, tmp_path: Path) -> None:
    with TLS(server.port, tmp_path) as tls:
        dsn = f"rediss://127.0.0.1:{tls.port}/0"
        gator = Gator(f"{dsn}?ssl_ca_certs={tls.certificate}")
        gator.task(add, 1, 2)
        Worker(gator, burst=True).run_forever()
        assert gator.len() == 0
        gator.close()
        with pytest.raises(StoreUnavailableError, match=r"(?i)certificate verify failed"):
            Gator(dsn).task(add, 1, 2)


def test_async_code_enqueues_and_waits(redis_dsn: str) -> None:
    async def main() -> int:
        gator = Gator(redis_dsn)
        with gator.options(keep_result=True) as options:
            task = await options.atask(add, 1, 2)
        waiting = asyncio.create_task(gator.aresult(task.task_id, timeout=20))
        await asyncio.to_thread(Worker(gator, burst=True).run_forever)
        return int(await waiting)

    assert asyncio.run(main()) == 3


def test_a_stopped_server_delays_and_loses_nothing(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As a worker sees a restart: it says so once, and goes on."""
    caplog.set_level(logging.WARNING)
    gator = Gator(server.dsn())
    worker = Worker(gator, max_tasks=2)
    thread = threading.Thread(target=worker.run_forever, daemon=True)
    gator.task(add, 1, 2)
    thread.start()
    while worker.tasks_complete < 1:
        assert not threading.Event().wait(0.01)
    server.kill()
    threading.Event().wait(1.0)
    server.start()
    gator.task(add, 3, 4)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert worker.tasks_complete == 2
    said = [record.getMessage().partition(" has trouble") for record in caplog.records]
    troubled = [who for who, trouble, _ in said if trouble]
    assert len(troubled) == len(set(troubled)), caplog.text


def test_a_forked_child_uses_connections_of_its_own(redis_dsn: str) -> None:
    gator = Gator(redis_dsn)
    gator.task(add, 1, 2)
    child = os.fork()
    if child == 0:
        try:
            gator.task(add, 3, 4)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    gator.task(add, 5, 6)
    assert gator.len() == 3
