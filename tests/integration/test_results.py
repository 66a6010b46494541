"""``keep_result=True``, ``gator.result()``, and the asynchronous forms of everything."""

import asyncio
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from alligator_sql import Gator, Worker
from alligator_sql.exceptions import (
    ResultTimeoutError,
    ResultUnavailableError,
    TaskFailedError,
    UnknownTaskError,
)
from tests.helpers import PATIENCE, Background, wait_until

from . import tasks


class Results:
    """What holds on every backend that keeps results."""

    @pytest.fixture
    def keeps(self, gator) -> Any:
        return gator.options(keep_result=True)

    def test_it_waits_for_the_end(self, gator, keeps):
        task = keeps.task(tasks.add, 1, 2)
        waiting = Background(lambda: gator.result(task.task_id, PATIENCE))
        assert gator.pop() == 3
        assert waiting.result() == 3

    def test_several_may_wait_for_the_same_task(self, gator, keeps):
        task = keeps.task(tasks.add, 1, 2)
        waiting = [Background(lambda: gator.result(task.task_id)) for _ in range(4)]
        gator.pop()
        assert [one.result() for one in waiting] == [3, 3, 3, 3]
        assert gator.result(task.task_id, timeout=0) == 3  # and later, as often as they like

    @pytest.mark.parametrize(
        "value",
        [None, 0, "", "NUL \x00, \ud800 and ü", [1, [2.5, {"a": None}]], {"k": [True, False]}],
        ids=["None", "zero", "empty", "odd text", "list", "dict"],
    )
    def test_a_result_comes_back_as_it_was(self, gator, keeps, value):
        task = keeps.task(tasks.echo, value)
        gator.pop()
        assert gator.result(task.task_id, timeout=0) == value

    def test_a_task_that_does_not_end_in_time_is_a_timeout(self, gator, keeps):
        task = keeps.task(tasks.add, 1, 2)
        with pytest.raises(TimeoutError, match=r"did not end within 0 s"):
            gator.result(task.task_id, timeout=0)
        with pytest.raises(ResultTimeoutError, match=r"0\.05 s"):
            gator.result(task.task_id, timeout=0.05)
        gator.pop()
        assert gator.result(task.task_id, timeout=0.05) == 3

    def test_a_failure_is_raised_with_its_traceback_as_text(self, gator, keeps):
        task = keeps.task(tasks.fail, "no such follower")
        waiting = Background(lambda: gator.result(task.task_id, PATIENCE))
        with pytest.raises(ValueError, match="no such follower"):
            gator.pop()
        with pytest.raises(TaskFailedError, match="ValueError: no such follower") as raised:
            waiting.result()
        assert raised.value.kind == "ValueError"
        assert 'tasks.py", line' in raised.value.traceback
        assert "raise ValueError(message)" in raised.value.traceback

    def test_a_failure_needs_no_kept_result(self, gator):
        task = gator.task(tasks.fail_with_odd_text)
        with pytest.raises(RuntimeError):
            gator.pop()
        with pytest.raises(TaskFailedError) as raised:
            gator.result(task.task_id, timeout=0)
        assert str(raised.value) == r"RuntimeError: NUL \x00 and a lone surrogate \ud800"

    def test_an_attempt_that_is_retried_is_no_end(self, gator):
        task = gator.options(keep_result=True, retries=1, backoff=0).task(tasks.fail)
        assert gator.pop() is None
        with pytest.raises(ResultTimeoutError):
            gator.result(task.task_id, timeout=0)
        with pytest.raises(ValueError, match="no luck"):
            gator.pop()
        with pytest.raises(TaskFailedError, match="no luck"):
            gator.result(task.task_id, timeout=0)

    def test_a_result_that_was_not_kept_says_how_to_keep_it(self, gator):
        task = gator.task(tasks.add, 1, 2)
        gator.pop()
        with pytest.raises(ResultUnavailableError, match=r"options\(keep_result=True\)"):
            gator.result(task.task_id, timeout=0)

    def test_a_result_that_is_not_json_says_what_it_was(self, gator, keeps):
        task = keeps.task(tasks.not_json)
        assert gator.pop() is not None
        with pytest.raises(ResultUnavailableError, match=r"result cannot be stored.*object"):
            gator.result(task.task_id, timeout=0)
        assert gator.find(task.task_id).status_name == "success"

    def test_a_result_that_is_too_large_says_so(self, gator, keeps):
        task = keeps.task(tasks.large, 1024 * 1024)
        gator.pop()
        with pytest.raises(ResultUnavailableError, match=r"1048578 bytes of JSON, 1048576 are"):
            gator.result(task.task_id, timeout=0)

    def test_canceling_ends_the_wait(self, gator, keeps):
        task = keeps.task(tasks.add, 1, 2)
        waiting = Background(lambda: gator.result(task.task_id, PATIENCE))
        assert gator.cancel(task.task_id).task_id == task.task_id
        with pytest.raises(TaskFailedError, match="canceled") as raised:
            waiting.result()
        assert raised.value.kind == "canceled"

    def test_an_expired_task_has_failed(self, gator):
        task = gator.options(keep_result=True, expires=0).task(tasks.add, 1, 2)
        with pytest.raises(TaskFailedError):
            gator.pop()
        with pytest.raises(TaskFailedError, match="after it expired") as raised:
            gator.result(task.task_id, timeout=0)
        assert raised.value.kind == "expired"

    def test_an_unknown_task_is_said_to_be_unknown(self, gator):
        with pytest.raises(UnknownTaskError, match="No task nobody is known"):
            gator.result("nobody", timeout=PATIENCE)

    def test_an_id_of_ones_own(self, gator):
        gator.options(keep_result=True, task_id="invoice 42").task(tasks.add, 1, 2)
        gator.pop()
        assert gator.result("invoice 42", timeout=0) == 3

    def test_a_worker_delivers_it(self, gator, keeps):
        worker = Worker(gator, concurrency=2, nap_time=0.02, log_level="CRITICAL")
        thread = threading.Thread(target=worker.run_forever)
        thread.start()
        good = [keeps.task(tasks.add, number, 1) for number in range(20)]
        bad = keeps.task(tasks.fail)
        assert [gator.result(task.task_id, PATIENCE) for task in good] == list(range(1, 21))
        with pytest.raises(TaskFailedError):
            gator.result(bad.task_id, PATIENCE)
        worker.stop()
        thread.join()

    def test_the_asynchronous_forms(self, gator):
        async def use() -> None:
            keeps = gator.options(keep_result=True)
            task = await keeps.atask(tasks.add, 1, 2)
            assert (await gator.afind(task.task_id)).status_name == "waiting"
            assert await gator.aget(task.task_id) == 3
            assert await gator.aresult(task.task_id, timeout=PATIENCE) == 3

            assert await gator.amap(tasks.echo, range(5)) == 5
            assert gator.len() == 5

            late = await gator.options(delay_by=60).atask(tasks.echo, "late")
            assert (await gator.acancel(late.task_id)).task_id == late.task_id
            assert (await gator.afind(late.task_id)).status_name == "canceled"
            assert await gator.acancel(late.task_id) is None
            assert await gator.afind("nobody") is None

            now = await gator.options(is_async=False).atask(tasks.add, 3, 4)
            assert now.result == 7
            again = await gator.options(task_id=task.task_id).atask(tasks.add, 1, 2)
            assert again.duplicate

        asyncio.run(use())

    def test_awaiting_a_result_does_not_stop_the_loop(self, gator, keeps):
        async def use() -> Any:
            task = await keeps.atask(tasks.echo, "x")
            waiting = asyncio.create_task(gator.aresult(task.task_id, PATIENCE))
            for _ in range(3):
                await asyncio.sleep(0)
            assert not waiting.done()
            await gator.aget(task.task_id)
            return await waiting

        assert asyncio.run(use()) == "x"


class TestPostgreSQL(Results):
    @pytest.fixture
    def gator(self, postgres_dsn) -> Iterator[Gator]:
        gator = Gator(postgres_dsn)
        yield gator
        gator.close()

    def test_it_is_woken_and_does_not_only_poll(self, gator, keeps, postgres_dsn):
        """It polls every second; what comes sooner was woken by NOTIFY."""
        delays = []
        with psycopg.connect(postgres_dsn, autocommit=True) as observer:
            listening = "select 1 from pg_stat_activity where query like 'listen%'"
            for _ in range(5):
                task = keeps.task(tasks.echo)
                waiting = Background(partial(_time_of_result, gator, task.task_id))
                wait_until(lambda: observer.execute(listening).fetchall())
                gator.pop()
                ended = time.monotonic()
                delays.append(waiting.result() - ended)
                wait_until(lambda: not observer.execute(listening).fetchall())
        assert min(delays) < 0.5


class TestSQLite(Results):
    @pytest.fixture
    def gator(self, sqlite_dsn) -> Iterator[Gator]:
        gator = Gator(sqlite_dsn)
        yield gator
        gator.close()


class TestLocalMemory(Results):
    @pytest.fixture
    def gator(self, tmp_path) -> Gator:
        return Gator(f"locmem://{tmp_path}")


def _time_of_result(gator: Gator, task_id: str) -> float:
    gator.result(task_id, PATIENCE)
    return time.monotonic()
