"""Pausing, resuming and trying again, with real workers."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from alligator_sql import Gator, Worker
from alligator_sql.constants import FAILED, SUCCESS, WAITING
from alligator_sql.exceptions import Unsupported
from tests.helpers import Background, wait_until

from . import tasks


class OldClient:
    """A client of Alligator 1.0, as far as nobody asks it anything."""

    def __init__(self, conn_string: str) -> None:
        self.len = self.drop_all = self.push = self.pop = self.get = conn_string.join


class Operating:
    """What holds on every backend that has all of it."""

    def test_a_worker_leaves_a_paused_queue_alone(self, gator, tmp_path):
        journal = tmp_path / "journal"
        gator.pause()
        assert gator.is_paused()
        paused = gator.task(tasks.append, str(journal), "paused")
        other = gator.options(queue="other").task(tasks.append, str(journal), "other")
        worker = Worker(gator, to_consume=["all", "other"])
        running = Background(worker.run_forever)
        wait_until(lambda: gator.find(other.task_id).status == SUCCESS)
        assert gator.len() == 1
        gator.resume()
        assert not gator.is_paused()
        wait_until(lambda: gator.find(paused.task_id).status == SUCCESS)
        worker.stop()
        running.result()
        assert journal.read_text() == "other\npaused\n"

    def test_a_burst_does_not_wait_for_the_end_of_a_pause(self, gator):
        gator.task(tasks.add, 1, 2)
        gator.pause()
        Worker(gator, burst=True).run_forever()
        assert gator.pop() is None
        assert gator.len() == 1

    def test_a_paused_queue_does_not_keep_its_workers_busy(self, gator, monkeypatch):
        gator.pause()
        for number in range(100):
            gator.options(delay_by=number / 50).task(tasks.add, 1, 2)
        claims: list[float] = []
        claim = gator.store.claim

        def counted(*arguments, **options):
            claims.append(time.monotonic())
            return claim(*arguments, **options)

        monkeypatch.setattr(gator.store, "claim", counted)
        worker = Worker(gator)
        running = Background(worker.run_forever)
        wait_until(lambda: claims and time.monotonic() - claims[0] > 2)
        worker.stop()
        running.result()
        early = [moment for moment in claims if moment - claims[0] < 2]
        assert len(early) < 15  # each pause is twice as long as the one before

    def test_who_names_a_task_gets_it_from_a_paused_queue(self, gator):
        task = gator.task(tasks.add, 1, 2)
        gator.pause()
        assert gator.get(task.task_id) == 3

    def test_a_failed_task_is_tried_again(self, gator):
        task = gator.task(tasks.fail)
        assert not gator.retry(task.task_id)
        for _ in range(2):
            with pytest.raises(ValueError, match="no luck"):
                gator.pop()
            assert gator.find(task.task_id).status == FAILED
            assert gator.retry(task.task_id)
            assert gator.find(task.task_id).status == WAITING

    def test_a_canceled_task_is_tried_again(self, gator):
        task = gator.options(delay_by=300, task_id="mistake").task(tasks.add, 1, 2)
        assert gator.cancel(task.task_id) is not None
        assert asyncio.run(gator.aretry("mistake"))
        assert gator.pop() == 3
        assert not gator.retry("mistake")


class TestWithoutAServer(Operating):
    def test_a_client_of_alligator_1_cannot(self):
        gator = Gator("old://", backend_class=OldClient)
        for call in (gator.pause, gator.resume, gator.is_paused, lambda: gator.retry("x")):
            with pytest.raises(Unsupported, match="legacy"):
                call()


class TestPostgreSQL(Operating):
    @pytest.fixture
    def gator(self, postgres18_dsn) -> Iterator[Gator]:
        gator = Gator(postgres18_dsn)
        yield gator
        gator.close()

    def test_two_retries_with_one_unique_key_leave_one(self, gator):
        """The second waits for the first, which may still roll back."""
        ids = []
        for _ in range(2):
            task = gator.options(unique_key="k").task(tasks.fail)
            with pytest.raises(ValueError, match="no luck"):
                gator.pop()
            ids.append(task.task_id)
        first = Background(lambda: gator.retry(ids[0]))
        second = Background(lambda: gator.retry(ids[1]))
        assert sorted([first.result(), second.result()]) == [False, True]
        assert gator.len() == 1
