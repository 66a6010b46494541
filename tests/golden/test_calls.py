"""A task takes no more calls of Python functions than when somebody last looked.

The time of Python decides how fast a queue is. Calls are what it goes by, and unlike time they
can be counted: they are the same with all versions of Python. Where a change is worth more of
them, change the numbers.
"""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any
from uuid import uuid4

from alligator_sql import Gator, Task, Worker
from alligator_sql.messages import Message

TASKS = 300
SPARE = 1.0
"""What is allowed besides: the first task imports its function, and threads wait at times."""
MADE = 38
"""Calls that make, check and encode one task."""
STORED = 32
"""Calls that store one task in SQLite, in a transaction of its own."""
RUN = 50
"""Calls that run one task, on the thread of its worker."""


ran_on: set[int] = set()


def notify_customer(message: dict[str, Any]) -> None:
    """Do nothing but tell the thread: everything around it is what is counted."""
    ran_on.add(threading.get_ident())


@contextmanager
def counted() -> Iterator[Counter[int]]:
    """Count the calls in the block, on each thread, and on those that are started there."""
    calls: Counter[int] = Counter()

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            calls[threading.get_ident()] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def made(gator: Gator) -> list[Message]:
    """Make small tasks, as most are."""
    messages = []
    for order in range(TASKS):
        task = Task()
        task.to_call(notify_customer, {"order": order})
        messages.append(gator.message_of(task))
    return messages


def test_making_a_task_takes_no_more_calls() -> None:
    gator = Gator(f"locmem://{uuid4()}")
    with counted() as calls:
        made(gator)
    assert calls[threading.get_ident()] / TASKS <= MADE + SPARE


def test_storing_a_task_in_sqlite_takes_no_more_calls(sqlite_dsn: str) -> None:
    with closing(Gator(sqlite_dsn)) as gator:
        gator.task(notify_customer, {"order": -1})  # connects
        messages = made(gator)
        with counted() as calls:
            for message in messages:
                gator.store.enqueue([message])
        assert gator.len() == 1 + TASKS
    assert calls[threading.get_ident()] / TASKS <= STORED + SPARE


def test_running_a_task_takes_no_more_calls() -> None:
    gator = Gator(f"locmem://{uuid4()}")
    gator.map(notify_customer, ({"order": order} for order in range(TASKS)))
    ran_on.clear()
    with counted() as calls:
        Worker(gator, burst=True).run_forever()
    [thread] = ran_on
    assert calls[thread] / TASKS <= RUN + SPARE
