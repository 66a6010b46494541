"""``alligator-sql worker -p``: worker processes that are started, restarted, replaced, stopped."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alligator_sql import Gator
from tests.helpers import wait_until

from . import rough_tasks, tasks
from .commands import MODULE
from .processes import UNHURRIED, Files, Process, end_leases, ended, is_alive

BREAKABLE = """
import os, pathlib, sys
broken = pathlib.Path(__file__).with_name("broken")
if "alligator_sql.cli.worker_process" in sys.orig_argv and broken.exists():
    os._exit(3)
"""
"""Imported by every interpreter at its start: a release that somebody may break."""
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def dsn(sqlite_dsn) -> str:
    return str(sqlite_dsn)


@pytest.fixture
def gator(dsn) -> Iterator[Gator]:
    gator = Gator(dsn)
    yield gator
    gator.close()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder on the path of the processes; while it has a file ``broken`` none starts."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BREAKABLE)
    return folder


def started(supervisor: Process) -> list[int]:
    """Return the process ids of the workers that were started, in that order."""
    return [int(pid) for pid in re.findall(r"worker \d+ \(#(\d+)\) started", supervisor.log)]


def wait_until_up(supervisor: Process, count: int) -> None:
    wait_until(lambda: supervisor.log.count(" consuming all from ") >= count)


def hold(gator: Gator, files: Files, count: int) -> list[str]:
    """Have as many tasks run, and return their ids."""
    ids = [
        gator.task(tasks.wait_for_file, files.started, files.until).task_id for _ in range(count)
    ]
    wait_until(lambda: len(files.lines(files.started)) == count)
    return ids


class TestDeaths:
    def test_a_killed_worker_is_replaced_and_its_task_rescued(self, gator, start, files):
        supervisor = start("-p", "2")
        (task_id,) = hold(gator, files, 1)
        (victim,) = map(int, files.lines(files.started))
        assert victim in started(supervisor)
        os.kill(victim, signal.SIGKILL)
        end_leases(gator)
        wait_until(lambda: re.search(rf"#{victim}\) died by SIGKILL, restarting", supervisor.log))
        wait_until(lambda: len(files.lines(files.started)) == 2)
        wait_until_up(supervisor, 3)
        files.let_go()
        record = ended(gator, task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("success", 2, 1)
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.log
        assert len(started(supervisor)) == 3

    def test_a_crash_loop_backs_off_and_ends(self, start, release):
        supervisor = start("-p", "1", path=str(release))
        wait_until_up(supervisor, 1)
        (release / "broken").touch()
        os.kill(started(supervisor)[0], signal.SIGKILL)

        def pauses() -> list[float]:
            return [float(pause) for pause in re.findall(r"restarting in (\S+) s", supervisor.log)]

        wait_until(lambda: len(pauses()) >= 3)
        assert supervisor.log.count("died with exit code 3") >= 2
        for number, pause in enumerate(pauses()):
            assert 0.2 * 2**number <= pause <= 0.5 * 2**number, pauses()
        (release / "broken").unlink()
        wait_until_up(supervisor, 2)
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0

    def test_workers_that_cannot_start_are_given_up(self, start):
        supervisor = start("-p", "2", "--connect-timeout", "0", dsn="postgresql://localhost:1/app")
        assert supervisor.ends() == 1
        assert "died with exit code 1 before any was up, giving up" in supervisor.log
        assert "Traceback" not in supervisor.log
        assert not any(map(is_alive, started(supervisor)))

    def test_workers_end_when_their_supervisor_was_killed(self, gator, start, files):
        supervisor = start("-p", "2")
        wait_until_up(supervisor, 2)
        (task_id,) = hold(gator, files, 1)
        supervisor.send(signal.SIGKILL)
        supervisor.ends()
        busy = int(files.lines(files.started)[0])
        (idle,) = set(started(supervisor)) - {busy}
        wait_until(lambda: not is_alive(idle))
        assert is_alive(busy)  # it ends in order, too: what runs is finished
        files.let_go()
        wait_until(lambda: not is_alive(busy))
        assert gator.find(task_id).status_name == "success"


class TestStopping:
    def test_what_runs_is_finished(self, gator, start, files):
        supervisor = start("-p", "2")
        ids = hold(gator, files, 2)
        assert set(map(int, files.lines(files.started))) == set(started(supervisor))
        supervisor.send(signal.SIGTERM)
        wait_until(lambda: supervisor.log.count("was told to stop, finishing") == 2)
        assert {gator.find(task_id).status_name for task_id in ids} == {"running"}
        files.let_go()
        assert supervisor.ends() == 0, supervisor.log
        for task_id in ids:
            record = gator.find(task_id)
            assert (record.status_name, record.attempts, record.crashes) == ("success", 1, 0)
        assert len(re.findall(r"worker \d \(#\d+\) stopped", supervisor.log)) == 2
        assert "supervisor stopped" in supervisor.log

    def test_a_second_signal_releases_what_runs(self, gator, start, files):
        supervisor = start("-p", "2")
        ids = hold(gator, files, 2)
        supervisor.send(signal.SIGTERM)
        wait_until(lambda: supervisor.log.count("was told to stop, finishing") == 2)
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.log
        for task_id in ids:
            record = gator.find(task_id)
            assert (record.status_name, record.attempts, record.crashes) == ("waiting", 0, 0)

    def test_a_third_signal_ends_all_at_once(self, gator, start, files, changed):
        task = gator.task(rough_tasks.tell_and_stay, files.started, files.done)
        supervisor = start("-p", "1", path=changed(UNHURRIED))
        wait_until(lambda: files.lines(files.started))
        supervisor.send(signal.SIGTERM)
        supervisor.says("was told to stop, finishing")
        supervisor.send(signal.SIGTERM)
        wait_until(lambda: files.lines(files.done))
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 128 + signal.SIGTERM
        assert gator.find(task.task_id).status_name == "running"
        assert not any(map(is_alive, started(supervisor)))

    def test_a_terminal_tells_the_workers_once(self, gator, start, files):
        """It sends SIGINT to a whole group of processes."""
        supervisor = start("-p", "1", start_new_session=True)
        (task_id,) = hold(gator, files, 1)
        os.killpg(supervisor.pid, signal.SIGINT)
        supervisor.says("was told to stop, finishing")
        files.let_go()
        assert supervisor.ends() == 0, supervisor.log
        assert gator.find(task_id).status_name == "success"

    def test_a_sigterm_for_all_processes_counts_once(self, gator, start, files):
        """As systemd sends it."""
        gator.task(rough_tasks.wait_and_note, files.started, files.until, files.done)
        supervisor = start("-p", "1")
        wait_until(lambda: files.lines(files.started))
        (worker,) = started(supervisor)
        os.kill(worker, signal.SIGTERM)
        supervisor.says("was told to stop, finishing")
        supervisor.send(signal.SIGTERM)
        supervisor.says("supervisor was told to stop")
        os.kill(worker, signal.SIGTERM)
        threading.Event().wait(0.5)  # time for what must not happen
        files.let_go()
        assert supervisor.ends() == 0, supervisor.log
        assert files.lines(files.done) == ["False"]

    def test_a_burst_ends_with_its_last_worker(self, gator, start, files):
        for number in range(20):
            gator.task(tasks.append, files.done, str(number))
        supervisor = start("-p", "2", "--burst")
        assert supervisor.ends() == 0
        assert sorted(map(int, files.lines(files.done))) == list(range(20))
        assert supervisor.log.count("has ended, nothing is due") == 2


class TestReloading:
    def test_nothing_is_lost(self, gator, start, files):
        supervisor = start("-p", "2", "-c", "2")
        wait_until_up(supervisor, 2)
        before = started(supervisor)
        supervisor.send(signal.SIGHUP)
        count = 0
        pause = threading.Event()
        while supervisor.log.count(" stopped\n") < 2:
            gator.task(tasks.append, files.done, str(count))
            count += 1
            pause.wait(0.01)
        files.wait_for_done(count)
        assert sorted(map(int, files.lines(files.done))) == list(range(count))
        after = set(started(supervisor)) - set(before)
        assert len(after) == 2
        assert all(map(is_alive, after))
        assert not any(map(is_alive, before))
        assert len(re.findall(r"is up in the place of worker", supervisor.log)) == 2
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.log

    def test_what_runs_is_finished(self, gator, start, files):
        supervisor = start("-p", "1")
        (task_id,) = hold(gator, files, 1)
        supervisor.send(signal.SIGHUP)
        supervisor.says("was told to stop, finishing")
        gator.task(tasks.append, files.done, "by the new one")
        files.wait_for_done(1)
        assert gator.find(task_id).status_name == "running"
        files.let_go()
        record = ended(gator, task_id)
        assert (record.status_name, record.attempts, record.crashes) == ("success", 1, 0)
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.log

    def test_a_broken_release_does_not_replace_what_works(self, gator, start, files, release):
        supervisor = start("-p", "2", path=str(release))
        wait_until_up(supervisor, 2)
        before = started(supervisor)
        (release / "broken").touch()
        supervisor.send(signal.SIGHUP)
        supervisor.says("died with exit code 3 before it was up, worker 1")
        gator.task(tasks.append_pid, files.done)
        files.wait_for_done(1)
        assert all(map(is_alive, before))
        assert len(started(supervisor)) == 3
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.log


def test_the_workers_do_not_show_their_dsn(dsn, start):
    supervisor = start(program=[*MODULE, "worker", dsn, "-p", "1", "-c", "3"])
    wait_until_up(supervisor, 1)
    (pid,) = started(supervisor)
    assert dsn not in Path(f"/proc/{pid}/cmdline").read_text()
    assert "3 at a time" in supervisor.log
    supervisor.send(signal.SIGTERM)
    assert supervisor.ends() == 0


class FirstProcess:
    """A worker that is the first process of its container."""

    def __init__(self, start: Any, *arguments: str) -> None:
        if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
            pytest.skip("needs the right to make a process namespace")
        self.outside = start(program=[*UNSHARE, *MODULE, "worker", *arguments])
        self.outside.says("consuming all")
        (self.pid,) = children(self.outside.pid)


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


class TestFirstProcess:
    """No signal without a handler reaches it, and every orphan becomes its child."""

    @pytest.mark.parametrize("arguments", [(), ("-p", "1"), ("-x", "processes")])
    def test_it_waits_for_orphans_and_stops_at_sigterm(self, gator, start, files, arguments):
        first = FirstProcess(start, *arguments)
        gator.task(rough_tasks.leave_an_orphan, files.done)
        files.wait_for_done(1)
        wait_until(lambda: all(map(is_alive, children(first.pid))))
        (task_id,) = hold(gator, files, 1)
        os.kill(first.pid, signal.SIGTERM)
        first.outside.says("was told to stop, finishing")
        files.let_go()
        assert first.outside.ends() == 0, first.outside.log
        assert gator.find(task_id).status_name == "success"

    def test_its_exit_code_is_that_of_the_worker(self, start):
        first = FirstProcess(start)
        (worker,) = children(first.pid)
        os.kill(worker, signal.SIGKILL)
        assert first.outside.ends() == 128 + signal.SIGKILL
