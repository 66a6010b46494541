"""Functions that the tests enqueue, and hooks. What they do is seen in the journal."""

import os
import signal
import time
from contextlib import closing
from typing import Any

from alligator_sql import Gator, Task

journal: list[Any] = []


def add(a: int, b: int) -> int:
    return a + b


def note(value: Any) -> Any:
    journal.append(value)
    return value


def note_time() -> None:
    journal.append(time.time())


def fail(message: str = "no") -> None:
    journal.append(message)
    raise ValueError(message)


def fail_at_first(failures: int) -> str:
    """Fail as often as told, and succeed from then on."""
    journal.append("attempt")
    if journal.count("attempt") <= failures:
        raise ConnectionError("not yet")
    return "at last"


def chain(conn_string: str, links: int) -> None:
    """Enqueue the rest of the chain."""
    journal.append(links)
    if links > 1:
        with closing(Gator(conn_string)) as gator:
            gator.task(chain, conn_string, links - 1)


def press_ctrl_c() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "finished"


def on_start(task: Task) -> None:
    journal.append(("start", task.func_args, task.status))


def on_success(task: Task, result: Any) -> None:
    journal.append(("success", task.status, result))


def on_error(task: Task, error: BaseException) -> None:
    journal.append(("error", task.status, str(error)))


def refuse_to_start(task: Task) -> None:
    raise PermissionError(f"not today, {task.task_id}")


def one_retry_more(task: Task, error: BaseException) -> None:
    """Never lose patience with a server that is only away."""
    if isinstance(error, ConnectionError):
        task.retries += 1


def no_more_retries(task: Task, error: BaseException) -> None:
    task.retries = 0


def next_time_add_ten(task: Task, error: BaseException) -> None:
    task.func_args = (0,)
