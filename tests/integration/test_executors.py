"""Workers with each executor, as processes: what dies, hangs or hoards harms no other task."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from alligator_sql import Gator
from alligator_sql.workers.runners import process
from alligator_sql.workers.runners.wire import Channel
from tests.helpers import PATIENCE, wait_until

from . import rough_tasks, tasks
from .processes import UNHURRIED, ended, is_alive

PROCESSES = ("-x", "processes")
CHILDREN_CANNOT_START = """
import logging
from alligator_sql import Gator, Task, Worker

logging.basicConfig()
Task.__module__ = "a_module_that_went_away"
Worker(Gator(), executor="processes").run_forever()
"""


@pytest.fixture
def dsn(sqlite_dsn) -> str:
    return str(sqlite_dsn)


@pytest.fixture
def gator(dsn) -> Iterator[Gator]:
    gator = Gator(dsn)
    yield gator
    gator.close()


class TestDeaths:
    """A child process that dies fails its task and no other."""

    def test_the_cause_is_in_the_error(self, gator, start, files):
        causes = {
            gator.task(rough_tasks.segfault): "SIGSEGV",
            gator.task(rough_tasks.kill_itself): "SIGKILL; perhaps the system ran out of memory",
            gator.task(rough_tasks.leave, 3): "exit code 3",
            gator.task(rough_tasks.leave, 0): "exit code 0",
        }
        others = [gator.task(tasks.append, files.done, str(number)) for number in range(6)]
        worker = start("--burst", "-c", "2", *PROCESSES)
        assert worker.ends() == 0, worker.log
        for dying, cause in causes.items():
            record = gator.find(dying.task_id)
            assert (record.status_name, record.attempts, record.crashes) == ("failed", 1, 0)
            assert cause in record.error
        assert sorted(files.lines(files.done)) == list("012345")
        assert {gator.find(task.task_id).status_name for task in others} == {"success"}

    def test_its_retries_are_left(self, gator, start):
        dying = gator.options(retries=2, backoff=0).task(rough_tasks.segfault)
        assert start("--burst", *PROCESSES).ends() == 0
        record = gator.find(dying.task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("failed", 3, 0)

    def test_what_it_has_forked_does_not_hide_its_death(self, gator, start, files):
        dying = gator.task(rough_tasks.fork_and_die, files.started)
        start(*PROCESSES)
        try:
            assert "SIGKILL" in str(ended(gator, dying.task_id).error)
        finally:
            for pid in files.lines(files.started):
                os.kill(int(pid), signal.SIGKILL)

    @pytest.mark.parametrize("executor", ["processes", "threads"])
    def test_a_fork_that_returns_too_changes_nothing(self, gator, start, files, executor):
        forking = gator.task(rough_tasks.fork_and_return, files.started)
        next_one = gator.task(tasks.append_pid, files.done)
        assert start("--burst", "-x", executor).ends() == 0
        assert len(set(files.lines(files.started))) == 2
        assert len(files.lines(files.done)) == 1
        for task in (forking, next_one):
            assert gator.find(task.task_id).status_name == "success"

    def test_a_child_that_dies_without_a_task_fails_none(self, gator, start, files):
        first = gator.task(tasks.append_pid, files.done)
        worker = start(*PROCESSES)
        files.wait_for_done(1)
        (child,) = map(int, files.lines(files.done))
        wait_until(lambda: gator.find(first.task_id).status_name == "success")
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{child}").exists())  # the worker has waited for it
        task = gator.task(tasks.append_pid, files.done)
        assert ended(gator, task.task_id).status_name == "success", worker.log
        assert len(set(files.lines(files.done))) == 2

    def test_a_child_that_cannot_start_fails_no_task(self, gator, start, files):
        task = gator.task(tasks.append, files.done, "ran")
        worker = start(program=[sys.executable, "-c", CHILDREN_CANNOT_START])
        worker.says("a child process did not start")

        def is_put_back() -> bool:
            record = gator.find(task.task_id)
            known = (record.status_name, record.attempts, record.crashes, record.error)
            return known == ("waiting", 0, 0, None)

        wait_until(is_put_back)
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0


class TestChildren:
    """What a child process has to share with its worker."""

    def test_it_logs_through_the_worker(self, gator, start, files):
        gator.task(rough_tasks.log_and_fail, "a word")
        worker = start("--burst", *PROCESSES, "--log-format", "json")
        assert worker.ends() == 0
        lines = [json.loads(line) for line in worker.log.splitlines()]
        (said,) = (line for line in lines if line["logger"] == rough_tasks.__name__)
        assert (said["level"], said["message"]) == ("WARNING", "here is a word")
        (failed,) = (line for line in lines if line["level"] == "ERROR")
        assert "ValueError: a word" in failed["message"]
        assert "in log_and_fail" in failed["message"]

    def test_it_tells_the_progress_and_its_context(self, gator, start, files):
        task = gator.options(timeout=300).task(
            rough_tasks.tell_about_itself, files.started, files.until
        )
        start(*PROCESSES, "--lease", "9")
        wait_until(lambda: gator.find(task.task_id).progress)
        progress = gator.find(task.task_id).progress
        assert (progress.percent, progress.message) == (25.0, "a quarter")
        assert files.lines(files.started) == [task.task_id, "1", "True", "False"]
        files.let_go()
        assert ended(gator, task.task_id).status_name == "success"

    def test_one_whose_worker_has_died_meanwhile_ends_in_silence(self, dsn):
        ours, theirs = socket.socketpair()
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-m", process.CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
        with ours:
            Channel(ours).send(
                {
                    "conn_string": dsn,
                    "task_class": "alligator_sql.tasks:Task",
                    "options": {},
                    "log_level": logging.INFO,
                    "path": sys.path,
                }
            )
        _, errors = child.communicate(timeout=PATIENCE)
        assert (child.returncode, errors) == (0, "")


class TestRecycling:
    def test_a_child_runs_so_many_tasks(self, gator, start, files):
        for _ in range(6):
            gator.task(tasks.append_pid, files.done)
        assert start("--burst", *PROCESSES, "--max-tasks-per-child", "2").ends() == 0
        assert sorted(Counter(files.lines(files.done)).values()) == [2, 2, 2]

    def test_a_child_that_hoards_is_replaced(self, gator, start, files):
        for mebibytes in (1, 1, 300, 1, 1):
            gator.task(rough_tasks.hold_memory, mebibytes, files.done)
        assert start("--burst", *PROCESSES, "--max-memory-per-child", "300").ends() == 0
        pids = files.lines(files.done)
        assert pids[0] == pids[1] == pids[2]
        assert pids[3] == pids[4] != pids[0]

    def test_a_worker_leaves_no_children(self, gator, start, files):
        for _ in range(2):
            gator.task(tasks.wait_for_file, files.started, files.until)
        worker = start("-c", "2", *PROCESSES)
        wait_until(lambda: len(files.lines(files.started)) == 2)
        children = [int(pid) for pid in files.lines(files.started)]
        worker.send(signal.SIGKILL)
        worker.ends()
        wait_until(lambda: not any(map(is_alive, children)))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what runs no Python")
    def test_not_even_those_that_run_no_python(self, gator, start, files):
        gator.task(rough_tasks.hold_the_interpreter, files.started)
        worker = start(*PROCESSES)
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGKILL)
        worker.ends()
        (child,) = map(int, files.lines(files.started))
        wait_until(lambda: not is_alive(child))


class TestTimeouts:
    def test_a_thread_gets_an_exception(self, gator, start, files):
        task = gator.options(timeout=2).task(rough_tasks.note_interruption, files.started)
        other = gator.task(tasks.append, files.done, "ran")
        assert start("--burst").ends() == 0
        assert files.lines(files.started) == ["TaskTimeout", "TaskTimeout"]
        assert gator.find(task.task_id).reason == "timeout"
        assert gator.find(other.task_id).status_name == "success"

    @pytest.mark.parametrize("executor", ["threads", "asyncio"])
    def test_a_coroutine_is_cancelled(self, gator, start, files, executor):
        task = gator.options(timeout=2).task(rough_tasks.note_cancellation, files.started)
        other = gator.task(tasks.append_later, files.done, "ran")
        assert start("--burst", "-x", executor).ends() == 0
        assert files.lines(files.started) == ["CancelledError", "TaskTimeout"]
        assert gator.find(task.task_id).reason == "timeout"
        assert gator.find(other.task_id).status_name == "success"

    def test_a_child_is_killed_with_what_it_has_started(self, gator, start, files):
        task = gator.options(timeout=5).task(rough_tasks.start_and_hang, files.started)
        other = gator.task(tasks.append, files.done, "ran")
        assert start("--burst", *PROCESSES).ends() == 0  # it would have hung for minutes
        record = gator.find(task.task_id)
        assert record.reason == "timeout"
        assert "its process was killed" in record.error
        assert gator.find(other.task_id).status_name == "success"
        pids = [int(pid) for pid in files.lines(files.started)]
        assert len(pids) == 2
        wait_until(lambda: not any(map(is_alive, pids)))


class TestEventLoop:
    def test_thousands_of_coroutines_at_a_time(self, postgres18_dsn, start):
        gator = Gator(postgres18_dsn)
        gator.map(rough_tasks.sleep_later, [0.5] * 2000)
        worker = start("--burst", "-x", "asyncio", "-c", "2000", dsn=postgres18_dsn)
        assert worker.ends() == 0  # one after the other they take 1000 s
        assert "stopped after 2000 tasks" in worker.log
        gator.close()

    def test_a_plain_function_holds_up_no_coroutine(self, gator, start, files):
        gator.task(tasks.wait_for_file, files.started, files.until, "plain")
        for number in range(3):
            gator.task(rough_tasks.wait_for_file_later, files.started, files.until, str(number))
        worker = start("--burst", "-x", "asyncio", "-c", "4")
        wait_until(lambda: sorted(files.lines(files.started)) == ["0", "1", "2", "plain"])
        files.let_go()
        assert worker.ends() == 0

    def test_auto_runs_both_kinds(self, gator, start, files):
        for number in range(2):
            gator.task(tasks.wait_for_file, files.started, files.until, f"plain{number}")
            gator.task(
                rough_tasks.wait_for_file_later, files.started, files.until, f"coroutine{number}"
            )
        worker = start("--burst", "-x", "auto", "-c", "4")
        wait_until(lambda: len(files.lines(files.started)) == 4)
        files.let_go()
        assert worker.ends() == 0
        assert sorted(files.lines(files.started)) == [
            "coroutine0",
            "coroutine1",
            "plain0",
            "plain1",
        ]


class TestStuckThreads:
    def test_others_take_its_place_and_nobody_waits_for_it(self, gator, start, files):
        """Two ignore their timeouts; one ends after all, the other one does not."""
        with gator.options(timeout=2) as short:
            ends = short.task(rough_tasks.ignore_everything, files.started, files.until)
            stays = short.task(rough_tasks.ignore_everything, files.started, files.until + "2")
        worker = start("-c", "2")
        wait_until(lambda: len(files.lines(files.started)) == 2)
        for number in range(3):
            gator.task(tasks.append, files.done, str(number))
        files.wait_for_done(3)
        for task in (ends, stays):
            worker.says(f"task {task.task_id} does not stop")
            assert gator.find(task.task_id).status_name == "running"
        files.let_go()
        assert ended(gator, ends.task_id).status_name == "success"
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        record = gator.find(stays.task_id)
        assert (record.status_name, record.reason, record.attempts) == ("failed", "timeout", 1)
        assert "it did not stop, and ended with its worker" in record.error


class TestStopping:
    def test_a_hundred_unstarted_claims_cost_no_time(self, gator, start, files, changed):
        gator.task(tasks.echo)  # a short task teaches it to claim many at once
        gator.task(tasks.wait_for_file, files.started, files.until)
        for number in range(100):
            gator.task(tasks.append, files.done, str(number))
        worker = start(path=changed("consumer.STALLED_AFTER = prefetch.HORIZON = 3600.0"))
        wait_until(lambda: files.lines(files.started))
        wait_until(lambda: gator.len() == 0)  # all are claimed
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        wait_until(lambda: gator.len() == 100)
        files.let_go()
        assert worker.ends() == 0
        assert time.monotonic() - began < 10  # mostly 0.1 s
        assert files.lines(files.done) == []

    def test_a_thread_is_told_at_the_second_signal_and_gone_at_the_third(
        self, gator, start, files, changed
    ):
        task = gator.task(rough_tasks.tell_and_stay, files.started, files.done)
        worker = start(path=changed(UNHURRIED))
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGTERM)
        worker.says("told to stop")
        assert files.lines(files.done) == []
        worker.send(signal.SIGTERM)
        wait_until(lambda: files.lines(files.done) == ["WorkerStopping"])
        worker.send(signal.SIGINT)
        assert worker.ends() == 128 + signal.SIGINT
        assert gator.find(task.task_id).status_name == "running"  # others take it, as after a crash

    @pytest.mark.parametrize("executor", ["asyncio", "processes"])
    def test_the_rest_ends_at_the_second_signal(self, gator, start, files, executor, changed):
        function = {
            "asyncio": rough_tasks.wait_for_file_later,
            "processes": tasks.wait_for_file,
        }[executor]
        task = gator.task(function, files.started, files.until, "on")
        worker = start("-x", executor, path=changed(UNHURRIED))
        wait_until(lambda: files.lines(files.started))
        worker.send(signal.SIGTERM)
        worker.says("told to stop")
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        assert "that still run" not in worker.log
        record = gator.find(task.task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("waiting", 0, 0)

    def test_children_leave_a_signal_to_their_worker(self, gator, start, files):
        """As when systemd sends it to all processes of a service."""
        task = gator.task(tasks.wait_for_file, files.started, files.until)
        worker = start(*PROCESSES)
        wait_until(lambda: files.lines(files.started))
        (child,) = map(int, files.lines(files.started))
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(child, number)
        worker.send(signal.SIGTERM)
        worker.says("told to stop")
        files.let_go()
        assert worker.ends() == 0
        assert gator.find(task.task_id).status_name == "success"
