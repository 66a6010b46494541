"""Calls at their time, and what becomes of those that are canceled."""

import threading
import time

from alligator_sql import timers
from tests.helpers import PATIENCE


def test_calls_are_made_in_the_order_of_their_times() -> None:
    made: list[str] = []
    done = threading.Event()
    now = time.monotonic()
    timers.at(now + 3.0, done.set)
    timers.at(now + 2.0, lambda: made.append("second"))
    timers.at(now + 1.0, lambda: made.append("first"))
    timers.at(now + 1.5, lambda: made.append("never")).cancel()
    assert done.wait(PATIENCE)
    assert made == ["first", "second"]


def test_a_call_that_fails_keeps_no_other_from_its_time() -> None:
    done = threading.Event()
    timers.at(time.monotonic(), lambda: 1 / 0)
    timers.at(time.monotonic(), done.set)
    assert done.wait(PATIENCE)


def test_canceled_ones_are_not_kept_until_their_time() -> None:
    done = threading.Event()
    in_an_hour = time.monotonic() + 3600
    stays = [timers.at(in_an_hour, done.set) for _ in range(10)]
    for _ in range(10 * timers.FEW):
        timers.at(in_an_hour, done.set).cancel()
    assert timers._thread is not None
    kept = [timer for _, _, timer in timers._thread._timers]
    assert len(kept) <= 2 * timers.FEW
    assert set(stays) <= set(kept)
    for timer in stays:
        timer.cancel()
