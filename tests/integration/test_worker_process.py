"""Workers as processes of their own: stopped, killed, woken, and many at a time."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from alligator_sql import Gator
from tests.helpers import wait_until

from . import tasks
from .processes import LOOKS_HOURLY, end_leases, ended

STOPPED_AT_ONCE = """
import logging, os, signal
from alligator_sql import Gator, Worker

class Told(Worker):
    def starting(self):
        super().starting()
        os.kill(os.getpid(), signal.SIGTERM)

logging.basicConfig(level=logging.INFO)
Told(Gator()).run_forever()
"""
"""A worker that is told to stop by who has just read that it starts."""


@pytest.fixture(params=["postgres18_dsn", "sqlite_dsn"])
def dsn(request) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def gator(dsn) -> Iterator[Gator]:
    gator = Gator(dsn)
    yield gator
    gator.close()


class TestStopping:
    def test_what_runs_is_finished_and_what_has_not_started_is_handed_back(
        self, gator, start, files
    ):
        # Short tasks teach the worker to claim many at once.
        gator.map(tasks.echo, range(300))
        long = gator.task(tasks.wait_for_file, files.started, files.until)
        rest = [gator.task(tasks.append, files.done, str(number)) for number in range(50)]
        worker = start("-c", "1")
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGTERM)

        # at once, not when the long task has ended
        wait_until(lambda: gator.len() == 50)
        for task in rest:
            record = gator.find(task.task_id)
            assert (record.status_name, record.attempts, record.worker_id) == ("waiting", 0, None)
        assert gator.find(long.task_id).status_name == "running"

        files.let_go()
        assert worker.ends() == 0, worker.log
        record = gator.find(long.task_id)
        assert (record.status_name, record.attempts) == ("success", 1)
        assert files.lines(files.done) == []
        assert "told to stop" in worker.log
        assert "stopped after 301 tasks" in worker.log

        assert start("--burst").ends() == 0
        assert sorted(map(int, files.lines(files.done))) == list(range(50))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_at_the_second_signal_what_runs_is_released(self, gator, start, files, number):
        task = gator.task(tasks.wait_for_file, files.started, files.until)
        worker = start()
        wait_until(lambda: files.lines(files.started))
        worker.send(number)
        worker.says("told to stop")
        assert gator.find(task.task_id).status_name == "running"
        worker.send(number)
        assert worker.ends() == 0, worker.log
        record = gator.find(task.task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("waiting", 0, 0)
        assert "Traceback" not in worker.log

        files.let_go()
        assert start("--burst").ends() == 0
        assert gator.find(task.task_id).status_name == "success"

    def test_after_the_grace_what_runs_is_released(self, gator, start, files):
        task = gator.task(tasks.wait_for_file, files.started, files.until)
        worker = start("--grace", "0.2")
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0, worker.log
        assert "finishing what runs (up to 0.2 s)" in worker.log
        assert gator.find(task.task_id).status_name == "waiting"

    def test_an_idle_worker_stops_at_once(self, start):
        worker = start()
        worker.says("consuming all")
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        assert "stopped after 0 tasks" in worker.log

    def test_one_that_says_that_it_starts_can_be_stopped(self, start):
        worker = start(program=[sys.executable, "-c", STOPPED_AT_ONCE])
        assert worker.ends() == 0, worker.log
        assert "stopped after 0 tasks" in worker.log

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_that_comes_when_all_is_done_changes_nothing(self, gator, start, number):
        gator.task(tasks.signal_at_the_end, number)
        assert start("--burst").ends() == 0


class TestCrashes:
    def test_the_tasks_of_a_killed_worker_run_elsewhere(self, gator, start, files):
        ids = [
            gator.task(tasks.wait_for_file, files.started, files.until, str(number)).task_id
            for number in range(2)
        ]
        killed = start("-c", "2")
        wait_until(lambda: len(files.lines(files.started)) == 2)
        killed.send(signal.SIGKILL)
        assert killed.ends() == -signal.SIGKILL

        end_leases(gator)
        heir = start("-c", "2")
        heir.says("took back 2 tasks of dead workers")
        wait_until(lambda: sorted(files.lines(files.started)) == ["0", "0", "1", "1"])
        files.let_go()
        for task_id in ids:
            record = ended(gator, task_id)
            assert record.status_name == "success"
            assert (record.attempts, record.crashes) == (2, 1)
        heir.send(signal.SIGTERM)
        assert heir.ends() == 0

    def test_nothing_is_taken_from_a_worker_that_lives(self, gator, start, files):
        """Its task runs for several leases, beside somebody who would take it back."""
        task = gator.task(tasks.wait_for_file, files.started, files.until)
        lease = 4
        start("--lease", str(lease))
        wait_until(lambda: files.lines(files.started))
        (worker,) = {gator.find(task.task_id).worker_id}
        other = start("--lease", str(lease))
        other.says("consuming")
        time.sleep(2.2 * lease)
        assert gator.find(task.task_id).worker_id == worker
        files.let_go()
        assert ended(gator, task.task_id).status_name == "success"
        assert len(files.lines(files.started)) == 1

    def test_a_task_that_kills_three_workers_is_quarantined(self, gator, start, files):
        task = gator.options(retries=1000).task(tasks.kill_worker, files.started)
        for _ in range(3):
            assert start().ends() == -signal.SIGKILL
            end_leases(gator)
        survivor = start()
        record = ended(gator, task.task_id)
        assert (record.reason, record.crashes) == ("quarantined", 3)
        assert "3 workers died while they ran this task" in str(record.error)
        assert len(files.lines(files.started)) == 3
        survivor.send(signal.SIGTERM)
        assert survivor.ends() == 0


class TestWaking:
    def test_an_idle_worker_is_woken(self, gator, start, files):
        worker = start(program=[sys.executable, "-c", LOOKS_HOURLY])
        for count in range(1, 7):
            gator.task(tasks.append, files.done, "next")
            files.wait_for_done(count)
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0

    def test_an_idle_worker_starts_a_delayed_task_in_time(self, gator, start, files):
        worker = start(program=[sys.executable, "-c", LOOKS_HOURLY])
        gator.task(tasks.append, files.done, "first")
        wait_until(lambda: files.lines(files.done))
        late = []
        for delay in (0.3, 0.7, 1.0):
            task = gator.options(delay_by=delay).task(tasks.append, files.done, "next")
            record = ended(gator, task.task_id)
            assert record.started_at is not None
            late.append((record.started_at - record.run_at).total_seconds())
        worker.close()
        assert all(-0.01 < seconds < 10 for seconds in late), late


class TestRunning:
    def test_two_workers_never_run_a_task_twice(self, gator, start, files):
        count = 1000
        workers = [start("-c", "4"), start("-c", "4")]
        for worker in workers:
            worker.says("consuming")
        numbered = [str(number) for number in range(count)]
        for number in numbered[: count // 2]:
            gator.task(tasks.append, files.done, number)
        with gator.options(priority=1) as urgent:
            for number in numbered[count // 2 :]:
                urgent.task(tasks.append, files.done, number)
        files.wait_for_done(count)
        for worker in workers:
            worker.send(signal.SIGTERM)
        assert [worker.ends() for worker in workers] == [0, 0]
        assert sorted(files.lines(files.done)) == sorted(numbered)
        assert gator.len() == 0

    def test_coroutine_functions_run(self, gator, start, files):
        for number in range(20):
            gator.task(tasks.append_later, files.done, str(number))
        assert start("--burst", "-c", "4").ends() == 0
        assert sorted(map(int, files.lines(files.done))) == list(range(20))


class TestPostgreSQL:
    @pytest.fixture
    def dsn(self, postgres18_dsn) -> str:
        return str(postgres18_dsn)

    def test_the_password_is_not_shown(self, dsn, start):
        secret = make_url(dsn).set(password="hunter2").render_as_string(hide_password=False)
        worker = start("--burst", dsn=secret)
        assert worker.ends() == 0, worker.log
        assert "postgres:***@" in worker.log
        assert "hunter2" not in worker.log

    def test_a_wrong_password_is_not_shown(self, postgres18_server, start):
        server = postgres18_server
        hba = Path(server._server.pgdata) / "pg_hba.conf"
        before = hba.read_text()
        hba.write_text("local all somebody scram-sha-256\n" + before)
        server._execute("create role somebody login password 'right'")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
        try:
            url = make_url(server.dsn()).set(username="somebody", password="hunter2")
            dsn = url.render_as_string(hide_password=False)
            worker = start("--connect-timeout", "0.5", dsn=dsn)
            assert worker.ends() == 1
            assert "password authentication failed" in worker.log
            assert "hunter2" not in worker.log
            assert "Traceback" not in worker.log
        finally:
            hba.write_text(before)
            server._execute("drop role somebody")

    def test_a_worker_outlives_the_loss_of_its_connections(self, dsn, gator, start, files):
        worker = start("-c", "2")
        with psycopg.connect(dsn, autocommit=True) as connection:
            for count in range(1, 6):
                gator.task(tasks.append, files.done, str(count))
                files.wait_for_done(count)
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> "
                    "pg_backend_pid() and application_name = 'alligator-sql' "
                    "and datname = current_database()"
                )
                gator.close()
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0, worker.log
