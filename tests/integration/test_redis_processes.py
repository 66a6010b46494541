"""Workers on Redis as processes of their own: killed, cut off, idle; and the server killed."""

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile

import pytest

from alligator_sql import Gator
from alligator_sql.exceptions import StoreUnavailableError
from tests.helpers import Background, wait_until
from tests.redis_servers import RedisServer, advance

from . import commands, tasks
from .processes import LOOKS_HOURLY

TROUBLE = "the store has trouble, trying on"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that has on disk whatever it has answered."""
    with RedisServer("valkey", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def dsn(server: RedisServer) -> str:
    return server.dsn()


@pytest.fixture
def gator(dsn) -> Iterator[Gator]:
    gator = Gator(dsn)
    yield gator
    gator.close()


def test_a_worker_killed_in_mid_run_loses_nothing(gator, start, files):
    ids = []
    for number in range(200):
        ids.append(gator.task(tasks.append_slowly, files.done, str(number)).task_id)
        if number == 150:  # so that it is in mid-run, however late it is killed
            for _ in range(4):
                gator.task(tasks.wait_for_file, files.started, files.until)
    killed = start("-c", "4")
    files.wait_for_done(40)
    wait_until(lambda: gator.find(ids[0]).status_name == "success")
    killed.send(signal.SIGKILL)
    assert killed.ends() == -signal.SIGKILL
    files.let_go()

    at_its_death = [gator.find(task_id) for task_id in ids]
    acknowledged = [
        number for number, record in enumerate(at_its_death) if record.status_name == "success"
    ]
    assert 0 < len(acknowledged) < 200
    advance(gator.store, 60)  # the lease of the dead one is over
    heir = start("-c", "4")
    wait_until(lambda: all(gator.find(task_id).finished_at for task_id in ids))
    heir.send(signal.SIGTERM)
    assert heir.ends() == 0

    ran = Counter(map(int, files.lines(files.done)))
    assert sorted(ran) == list(range(200))
    assert {ran[number] for number in acknowledged} == {1}
    for number, record in enumerate(map(gator.find, ids)):
        assert record.status_name == "success"
        held = at_its_death[number].status_name == "running"
        assert ran[number] == 1 or (held and ran[number] == 2)
        assert record.crashes <= held


def test_a_server_killed_in_mid_run_loses_nothing(gator, server, start, files):
    """The worker lives on, so even what was not acknowledged runs only once."""
    worker = start("-c", "4")
    worker.says("consuming")

    def enqueue() -> None:
        for number in range(600):
            while True:
                try:
                    gator.options(task_id=f"n{number}").task(
                        tasks.append_slowly, files.done, str(number)
                    )
                    break
                except StoreUnavailableError:  # the id makes it safe to try again
                    threading.Event().wait(0.05)

    producer = Background(enqueue)
    for troubles, done in enumerate((50, 250), 1):
        files.wait_for_done(done)
        server.kill()
        wait_until(lambda: worker.log.count(TROUBLE) == troubles)  # noqa: B023
        server.start()
    producer.result()
    files.wait_for_done(600)
    wait_until(lambda: all(gator.find(f"n{number}").finished_at for number in range(600)))
    worker.send(signal.SIGTERM)
    assert worker.ends() == 0

    assert sorted(map(int, files.lines(files.done))) == list(range(600))
    records = [gator.find(f"n{number}") for number in range(600)]
    assert {(one.status_name, one.attempts, one.crashes) for one in records} == {("success", 1, 0)}


def test_a_running_task_is_canceled(gator, start, files):
    task = gator.task(tasks.wait_for_file, files.started, files.until)
    worker = start()
    wait_until(lambda: files.lines(files.started))
    assert gator.cancel(task.task_id)
    wait_until(lambda: gator.find(task.task_id).finished_at)
    record = gator.find(task.task_id)
    assert (record.status_name, record.reason, record.attempts) == ("canceled", "canceled", 1)
    worker.says("canceled: tests.integration.tasks:wait_for_file")


def test_an_idle_worker_hardly_talks(gator, server, start, files):
    """At most two commands a second."""
    worker = start("-c", "4")
    worker.says("consuming")
    seconds = 4.0
    wait_until(lambda: _commands_sent_in(seconds, server) <= 2 * seconds)


def test_an_idle_worker_is_woken(gator, start, files):
    start(program=[sys.executable, "-c", LOOKS_HOURLY])
    for count in range(1, 4):
        gator.task(tasks.append, files.done, "now")
        files.wait_for_done(count)


def _commands_sent_in(seconds: float, server: RedisServer) -> int:
    """Return how many commands clients send in this time. What scripts do does not count."""
    with server.client() as client:
        client.ping()
        with client.monitor() as monitor:
            end = threading.Timer(seconds, client.echo, ["over"])
            end.start()
            heard = takewhile(lambda one: one["command"] != "ECHO over", monitor.listen())
            sent: int = sum(one["client_type"] != "lua" for one in heard)
            end.join()  # it has its answer before the connection is closed
            return sent


@pytest.mark.parametrize(
    ("password", "host", "words"),
    [
        ("right", "nowhere.invalid", "nowhere.invalid"),
        ("wr0ng", "127.0.0.1", "invalid username-password"),
    ],
)
def test_the_command_tells_what_is_wrong_and_hides_the_password(server, password, host, words):
    with server.client() as client:
        client.config_set("requirepass", "right")
    answer = commands.run("queue", "status", f"redis://:{password}@{host}:{server.port}/0")
    assert answer.returncode != 0
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert password not in answer.stdout + answer.stderr
