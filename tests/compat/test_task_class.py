"""Task classes of the user."""

import gzip
import json
from typing import Any

import pytest

from alligator_sql import SUCCESS, Gator, UnknownOptionError, Worker

from . import tasks
from .clients import ListClient
from .task_classes import CompressedTask, PatientTask, TracedTask


def test_a_task_may_be_stored_as_bytes(conn_string: str, journal: list[Any]) -> None:
    gator = Gator(conn_string, task_class=CompressedTask)
    task = gator.task(tasks.note, "x" * 1000)
    payload = task.serialize()
    assert isinstance(payload, bytes)
    assert json.loads(gzip.decompress(payload))["args"] == ["x" * 1000]
    Worker(gator, burst=True).run_forever()
    assert journal == ["x" * 1000]
    gator.close()


def test_bytes_survive_a_retry_and_a_cancel(conn_string: str, journal: list[Any]) -> None:
    gator = Gator(conn_string, task_class=CompressedTask)
    retried = gator.options(retries=2, backoff=0).task(tasks.fail_at_first, 2)
    canceled = gator.options(delay_by=60).task(tasks.add, 1, 2)
    Worker(gator, burst=True).run_forever()
    record = gator.find(retried.task_id)
    assert record is not None
    assert (record.status, record.attempts) == (SUCCESS, 3)
    found = gator.cancel(canceled.task_id)
    assert isinstance(found, CompressedTask)
    assert (found.task_id, found.func_args) == (canceled.task_id, (1, 2))
    gator.close()


def test_bytes_go_through_a_client_of_five_methods(journal: list[Any]) -> None:
    gator = Gator("list://", task_class=CompressedTask, backend_class=ListClient)
    gator.options(retries=1, backoff=0).task(tasks.fail_at_first, 1)
    Worker(gator, burst=True).run_forever()
    assert journal == ["attempt"] * 2


def test_a_task_may_carry_state_of_its_own(conn_string: str, journal: list[Any]) -> None:
    gator = Gator(conn_string, task_class=TracedTask)
    with gator.options(trace="request 17", retries=1, backoff=0) as opts:
        opts.task(tasks.fail_at_first, 1)
    Worker(gator, burst=True).run_forever()
    assert journal == ["trace request 17", "attempt"] * 2
    gator.close()


def test_a_task_class_may_have_other_defaults(conn_string: str) -> None:
    gator = Gator(conn_string, task_class=PatientTask)
    assert gator.task(tasks.add, 1, 2).retries == 5
    assert gator.options(retries=1).task(tasks.add, 1, 2).retries == 1
    gator.close()


def test_its_options_are_known_and_others_are_not(conn_string: str) -> None:
    gator = Gator(conn_string, task_class=TracedTask)
    with pytest.raises(UnknownOptionError, match="Did you mean 'trace'"):
        gator.options(traces="x")
    gator.close()
