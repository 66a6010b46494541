"""The ids of tasks.

An id is made by the producer, so that it is known before the commit and without a round
trip. Ids of one process grow, which keeps tasks with equal due times in order and lets
the stores append to their indexes.
"""

import os
import threading
import time
import uuid

_CUSTOM_IDS = uuid.UUID("6a1c4fd0-1d4b-5e0f-9d0c-4a11a6a70500")
_COUNTER_LIMIT = 0xFFF


class _Sequence:
    """Hands out (millisecond, counter) pairs that never repeat nor fall."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = (0, 0)

    def next(self) -> tuple[int, int]:
        now = time.time_ns() // 1_000_000
        with self._lock:
            millisecond, counter = self._last
            if now > millisecond:
                self._last = (now, 0)
            elif counter < _COUNTER_LIMIT:
                self._last = (millisecond, counter + 1)
            else:
                self._last = (millisecond + 1, 0)
            return self._last


_sequence = _Sequence()


def new_id() -> uuid.UUID:
    """Return a UUID of version 7 that is greater than all that this process made before."""
    return uuid.UUID(int=_new_number())


def new_task_id() -> str:
    """Return :func:`new_id` as text, which takes half the time."""
    digits = _new_number().to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _new_number() -> int:
    millisecond, counter = _sequence.next()
    random = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return millisecond << 80 | 0x7 << 76 | counter << 64 | 0x2 << 62 | random


def id_of(task_id: str) -> uuid.UUID:
    """Return the UUID under which the task ``task_id`` is stored.

    A UUID stands for itself; any other text is mapped to a UUID of version 5, always the
    same, while the text itself travels in the payload.
    """
    try:
        return uuid.UUID(task_id)
    except ValueError:
        return uuid.uuid5(_CUSTOM_IDS, task_id)
