"""Outcomes that come too late change nothing, and are counted."""

import logging
from uuid import uuid4

import pytest

from alligator_sql import Gator, Worker
from alligator_sql.messages import WorkerRecord
from alligator_sql.outcomes import Settlement, Succeeded
from tests.integration import tasks


def test_they_are_counted_and_each_is_told_once(
    gator: Gator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    task = gator.task(tasks.echo)
    store, worker = gator.store, uuid4()
    store.heartbeat(WorkerRecord(worker, "host", 1, ("all",), 60.0), first=True)
    [claim] = store.claim(["all"], 1, worker)
    assert store.ack([Settlement(claim, Succeeded())]) == {claim.id}
    assert store.stale_outcomes == 0
    assert store.ack([Settlement(claim, Succeeded())]) == set()
    assert store.stale_outcomes == 1
    assert caplog.text.count(f"stale outcome of task {task.task_id}") == 1
    Worker(gator, burst=True).run_forever()
    assert "stopped after 0 tasks; 1 outcomes came too late" in caplog.text


def test_what_the_task_has_recorded_itself_is_not_stale(gator: Gator) -> None:
    gator.task(tasks.echo)
    store, worker = gator.store, uuid4()
    store.heartbeat(WorkerRecord(worker, "host", 1, ("all",), 60.0), first=True)
    [claim] = store.claim(["all"], 1, worker)
    store.ack([Settlement(claim, Succeeded())])
    store.ack([Settlement(claim, Succeeded(completed=True))])
    assert store.stale_outcomes == 0
