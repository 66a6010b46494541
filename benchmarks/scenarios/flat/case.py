"""What makes a case different from a plain queue."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from alligator_sql import Gator

from ...peers import tasks
from ...peers.contenders import OURS, Contender


def enqueue(dsn: str, size: int, number: int) -> None:  # noqa: ARG001
    """Enqueue ``number`` tasks."""
    with closing(Gator(dsn)) as gator:
        gator.map(tasks.deliver, (tasks.mail(each) for each in range(number)))


@dataclass(frozen=True)
class Case:
    """A case, of some size.

    Attributes:
        name: What it is called, with a place for the size.
        size: How large it is.
        quick_size: How large in a quick run.
        prepare: Makes it so in a database, during the block.
        fill: Enqueues tasks, by connection string, size and number.
        contender: The worker for the size.
        processes: How many processes of it there are.
        analyzed_empty: Whether the planner last looked when the queue was empty; else it has
            seen the full one.
    """

    name: str
    size: int = 0
    quick_size: int = 0
    prepare: Callable[[str, int], AbstractContextManager[None]] = lambda _dsn, _size: nullcontext()
    fill: Callable[[str, int, int], None] = enqueue
    contender: Callable[[int], Contender] = lambda _size: OURS
    processes: Callable[[int], int] = lambda _size: 1
    analyzed_empty: bool = False
