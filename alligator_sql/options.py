"""The checks of a task's options, each with the limit and the value in its message."""

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from difflib import get_close_matches

from .exceptions import InvalidOptionError, UnknownOptionError
from .messages import Moment

LONGEST_QUEUE_NAME = 128
LONGEST_UNIQUE_KEY = 255
LONGEST_TASK_ID = 255
LOWEST_PRIORITY = -32768
HIGHEST_PRIORITY = 32767
LAST_MOMENT = 253_402_214_400.0
"""9999-12-31 as a Unix timestamp: what every store and datetime can hold."""
LONGEST_DELAY = 100 * 366 * 86_400.0
"""A hundred years in seconds."""

_UNKEPT = re.compile("[\x00-\x1f\ud800-\udfff]")
"""Control characters and lone surrogates, which no store keeps alike."""

Due = float | datetime
Expiry = float | timedelta | datetime


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse option names that are not in ``known`` with the nearest one that is.

    Raises:
        UnknownOptionError: At the first unknown name.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."
            raise UnknownOptionError(f"There is no option {name!r}. {hint}")


def check_queue(queue: str) -> str:
    """Return ``queue`` if it can name a queue.

    Raises:
        InvalidOptionError: Not 1 to 128 characters, or with control characters.
    """
    return _check_text(queue, "queue", LONGEST_QUEUE_NAME)


def check_unique_key(key: str | None) -> str | None:
    """Return ``key`` if it is None or 1 to 255 characters without control characters."""
    return None if key is None else _check_text(key, "unique_key", LONGEST_UNIQUE_KEY)


def check_task_id(task_id: str) -> str:
    """Return ``task_id`` if it is 1 to 255 characters without control characters."""
    return _check_text(task_id, "task_id", LONGEST_TASK_ID)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return ``tags`` as a tuple of checked texts."""
    if tags == ():
        return ()
    if isinstance(tags, str):
        raise InvalidOptionError(f"tags={tags!r}: give a list of texts, not one text.")
    return tuple(_check_text(tag, "tag", LONGEST_UNIQUE_KEY) for tag in tags)


def check_priority(priority: int) -> int:
    """Return ``priority`` if it is a whole number from -32768 to 32767; higher runs first."""
    if not isinstance(priority, int) or not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidOptionError(
            f"priority={priority!r}: give a whole number from {LOWEST_PRIORITY} to "
            f"{HIGHEST_PRIORITY}; higher runs first."
        )
    return int(priority)


def check_delay(seconds: float, name: str = "delay_by") -> Moment:
    """Return the moment ``seconds`` from now; a negative delay is now.

    Raises:
        InvalidOptionError: Not a finite number, or more than a hundred years.
    """
    if not isinstance(seconds, int | float) or not -math.inf < seconds < math.inf:
        raise InvalidOptionError(f"{name}={seconds!r}: give a finite number of seconds.")
    if seconds > LONGEST_DELAY:
        raise InvalidOptionError(f"{name}={seconds!r}: at most {LONGEST_DELAY:.0f} seconds.")
    return Moment(float(max(0.0, seconds)))


def check_timeout(timeout: float | None) -> float | None:
    """Return ``timeout`` if it is None or a number of seconds above 0.

    Raises:
        InvalidOptionError: It is not, or more than a hundred years.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_DELAY:
        raise InvalidOptionError(f"timeout={timeout!r}: give a number of seconds above 0, or None.")
    return float(timeout)


def check_moment(when: Due, name: str = "delay_until") -> Moment:
    """Return the moment that a Unix timestamp or an aware datetime names.

    Raises:
        InvalidOptionError: A naive datetime, a date without a time, or after 9999.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidOptionError(
                f"{name}={when!r} has no time zone, so it names no moment. Use an aware datetime, "
                "such as datetime.now(timezone.utc), or a Unix timestamp."
            )
        when = when.timestamp()
    elif isinstance(when, date):
        raise InvalidOptionError(f"{name}={when!r}: a date has no time; give an aware datetime.")
    if not isinstance(when, int | float) or not -math.inf < when < math.inf:
        raise InvalidOptionError(
            f"{name}={when!r}: give an aware datetime or a Unix timestamp in seconds."
        )
    if when > LAST_MOMENT:
        raise InvalidOptionError(
            f"{name}={when!r} lies after the year 9999. A timestamp is in seconds."
        )
    return Moment(float(max(0.0, when)), absolute=True)


def check_expiry(expires: Expiry) -> Moment:
    """Return the moment at which a task expires: seconds or a timedelta from now, or a datetime."""
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    if isinstance(expires, date):
        return check_moment(expires, "expires")
    return check_delay(expires, "expires")


def _check_text(value: str, name: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidOptionError(f"{name}={value!r}: give a text, not {type(value).__name__}.")
    if not 1 <= len(value) <= longest:
        raise InvalidOptionError(
            f"{name}={value[:40]!r} has {len(value)} characters: give 1 to {longest}."
        )
    if _UNKEPT.search(value):
        raise InvalidOptionError(
            f"{name}={value!r} holds control characters, which no store keeps alike."
        )
    return value
