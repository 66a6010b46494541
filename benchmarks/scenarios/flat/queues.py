"""Many queues, all consumed by one worker."""

from collections.abc import Sequence
from contextlib import closing

from alligator_sql import Gator

from ...peers import tasks
from ...peers.contenders import Contender
from .case import Case


def fill(dsn: str, size: int, number: int) -> None:
    """Spread ``number`` tasks over the queues."""
    names = _names(size)
    with closing(Gator(dsn)) as gator:
        for place, name in enumerate(names):
            with gator.options(queue=name) as there:
                each_nth = range(place, number, size)
                there.map(tasks.deliver, (tasks.mail(each) for each in each_nth))


def consumer(size: int) -> Contender:
    """Return a worker of all queues."""
    return Contender("Worker", ("ours", "Ours"), {"to_consume": _names(size)})


def _names(size: int) -> Sequence[str]:
    return [f"queue-{place}" for place in range(size)]


CASE = Case("{:,} queues", 200, 20, fill=fill, contender=consumer)
