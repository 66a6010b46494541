"""Many tasks of the future, more urgent than those that are due."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from alligator_sql import Gator

from ...peers import tasks
from .case import Case

DAY = 86_400


@contextmanager
def prepare(dsn: str, size: int) -> Iterator[None]:
    """Enqueue tasks of a higher priority that are due tomorrow."""
    with closing(Gator(dsn)) as gator, gator.options(priority=10, delay_by=DAY) as later:
        later.map(tasks.deliver, (tasks.mail(each) for each in range(size)))
    yield


CASE = Case("{:,} future tasks of a higher priority", 1_000_000, 5_000, prepare)
