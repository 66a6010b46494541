"""How long an idle worker waits."""

from inspect import signature
from itertools import pairwise

from alligator_sql import Worker
from alligator_sql.backends.sql.wakeups import NOTIFY_INTERVAL
from alligator_sql.workers.polling import LONGEST_DEAF, LONGEST_LISTENING, Polling


def test_it_starts_short_and_doubles() -> None:
    polling = Polling(0.025)
    pauses = [polling.pause(listening=False) for _ in range(6)]
    assert pauses == [0.025, 0.025, 0.025, 0.05, 0.1, 0.2]


def test_it_ends_at_a_second_when_nothing_would_wake_it() -> None:
    polling = Polling(0.025)
    assert [polling.pause(listening=False) for _ in range(20)][-1] == LONGEST_DEAF


def test_it_ends_later_when_something_would() -> None:
    polling = Polling(0.025)
    assert [polling.pause(listening=True) for _ in range(20)][-1] == LONGEST_LISTENING


def test_losing_the_listener_shortens_the_pause_at_once() -> None:
    polling = Polling(0.025)
    for _ in range(20):
        polling.pause(listening=True)
    assert polling.pause(listening=False) == LONGEST_DEAF


def test_activity_starts_over() -> None:
    polling = Polling(0.025)
    for _ in range(20):
        polling.pause(listening=True)
    polling.active()
    assert [polling.pause(listening=True) for _ in range(4)] == [0.025, 0.025, 0.025, 0.05]


def test_the_short_looks_find_what_was_not_announced() -> None:
    """They go on for as long as a notification silences its producer."""
    nap_time = signature(Worker).parameters["nap_time"].default
    polling = Polling(nap_time / 40)
    polling.pause(listening=True)  # the outcome comes at once
    assert sum(polling.pause(listening=True) for _ in range(2)) >= NOTIFY_INTERVAL


def test_no_nap_at_all() -> None:
    polling = Polling(0.0)
    assert [polling.pause(listening=False) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_pauses_never_shrink_without_activity() -> None:
    polling = Polling(0.001)
    pauses = [polling.pause(listening=True) for _ in range(30)]
    assert all(before <= after for before, after in pairwise(pauses))


def test_who_was_woken_in_vain_looks_again_soon() -> None:
    polling = Polling(0.0025)
    for _ in range(20):
        polling.pause(listening=True)
    polling.disturbed()
    assert polling.pause(listening=True) == 0.04
    polling.active()
    polling.disturbed()
    assert polling.pause(listening=True) == 0.0025
