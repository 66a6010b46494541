"""When to try again.

``backoff=None`` doubles from one second with full jitter and is capped at an hour: the
best spread when many tasks fail together. A number is a fixed delay, ``0`` retries at
once as Alligator 1.0 did, a list gives the delay of each retry and repeats its last.
"""

from collections.abc import Sequence

from . import jitter
from .exceptions import InvalidOptionError

Backoff = float | Sequence[float] | None

FIRST_DELAY = 1.0
LONGEST_DELAY = 3600.0
LONGEST_FIXED_DELAY = 100 * 366 * 86_400.0
"""A hundred years in seconds: what every store can add to its now."""


def check_backoff(backoff: Backoff) -> Backoff:
    """Return ``backoff`` if it is one.

    Raises:
        InvalidOptionError: Not None, a number from 0 to a hundred years in seconds, or a
            filled list of them.
    """
    if backoff is None:
        return None
    delays = backoff if isinstance(backoff, list | tuple) else [backoff]
    usable = all(
        isinstance(delay, int | float) and 0 <= delay <= LONGEST_FIXED_DELAY for delay in delays
    )
    if not usable or not delays:
        raise InvalidOptionError(
            f"backoff={backoff!r}: give None (exponential), seconds from 0 to "
            f"{LONGEST_FIXED_DELAY:.0f}, or a list of seconds."
        )
    return backoff


def delay_after(failures: int, backoff: Backoff = None) -> float:
    """Return the seconds to wait after the ``failures``-th failure, counted from 1."""
    if backoff is None:
        ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 32))
        return jitter.uniform(0.0, ceiling)
    if isinstance(backoff, int | float):
        return float(backoff)
    return float(backoff[min(failures, len(backoff)) - 1])
