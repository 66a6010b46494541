"""The names of a queue's keys; what they hold is told at the top of ``lua/common.lua``."""

from functools import lru_cache
from typing import Final

QUEUES: Final = "alligator:queues"
"""The set of all queues that anybody has used."""
_NAMES: Final = (
    "ready",
    "delayed",
    "running",
    "workers",
    "unique",
    "successful",
    "failed",
    "queue",
    "",
)
_ESCAPES: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


@lru_cache(maxsize=1024)
def base(queue: str) -> str:
    """Return what all keys of ``queue`` begin with.

    A brace in the name would end the hash tag early, so braces are escaped.
    """
    return f"alligator:{{{queue.translate(_ESCAPES)}}}:"


@lru_cache(maxsize=1024)
def of(queue: str) -> tuple[str, ...]:
    """Return the keys of ``queue`` in the order in which the scripts take them."""
    return tuple(base(queue) + name for name in _NAMES)


def task(queue: str, task_id: str) -> str:
    """Return the key of one task."""
    return f"{base(queue)}task:{task_id}"


def wake_channel(queue: str) -> str:
    """Return the channel that tells of new tasks."""
    return f"{base(queue)}wake"


def ended_channel(queue: str, task_id: str) -> str:
    """Return the channel that tells of the end of one task."""
    return f"{base(queue)}ended:{task_id}"
