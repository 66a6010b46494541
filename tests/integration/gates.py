"""Tasks that tests hold back and let go, in the same process."""

import threading
from contextlib import suppress

from alligator_sql import TaskTimeout, current_task
from tests.helpers import PATIENCE


class Gates:
    """What the tasks of one test have done; a task that outlives its test keeps the old ones."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.answering = threading.Event()
        self.opened = threading.Event()
        self.ran: list[str] = []


current = Gates()


def reset() -> None:
    """Let go whatever still waits, and begin anew."""
    global current
    current.opened.set()
    current = Gates()


def quick(name: str) -> None:
    current.ran.append(name)


def gate(name: str) -> None:
    """Run until the test opens the gate."""
    gates = current
    gates.entered.set()
    assert gates.opened.wait(PATIENCE)
    gates.ran.append(name)


def answer_when_told_to_stop(value: object) -> object:
    current.answering.set()
    current_task().wait(PATIENCE)
    return value


def stay() -> None:
    """Run until the test opens the gate, whoever wants it to stop."""
    gates = current
    gates.entered.set()
    while not gates.opened.is_set():
        with suppress(TaskTimeout):
            gates.opened.wait(PATIENCE)


def echo(value: object) -> object:
    return value
