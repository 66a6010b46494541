"""The names of a queue's keys; what they hold is told at the top of ``lua/common.lua``."""

from functools import lru_cache
from typing import Final, NamedTuple

QUEUES: Final = "alligator:queues"
"""The set of all queues that anybody has used."""
_ESCAPES: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


class Keys(NamedTuple):
    """The keys of one queue, in the order in which the scripts take them."""

    ready: str
    delayed: str
    running: str
    canceled: str
    workers: str
    origins: str
    unique: str
    successful: str
    failed: str
    queue: str
    base: str


@lru_cache(maxsize=1024)
def base(queue: str) -> str:
    """Return what all keys of ``queue`` begin with.

    A brace in the name would end the hash tag early, so braces are escaped.
    """
    return f"alligator:{{{queue.translate(_ESCAPES)}}}:"


@lru_cache(maxsize=1024)
def of(queue: str) -> Keys:
    """Return the keys of ``queue``."""
    beginning = base(queue)
    return Keys._make([*(beginning + name for name in Keys._fields[:-1]), beginning])


def task(queue: str, task_id: str) -> str:
    """Return the key of one task."""
    return f"{base(queue)}task:{task_id}"


def wake_channel(queue: str) -> str:
    """Return the channel that tells of new tasks."""
    return f"{base(queue)}wake"


def ended_channel(queue: str, task_id: str) -> str:
    """Return the channel that tells of the end of one task."""
    return f"{base(queue)}ended:{task_id}"
