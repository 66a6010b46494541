"""The checks of options by themselves; their messages are in test_bad_input.py."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from alligator_sql import InvalidOptionError, options
from alligator_sql.messages import NOW, Moment


def test_a_delay_is_relative_to_the_clock_of_the_store() -> None:
    assert options.check_delay(60) == Moment(60.0)
    assert options.check_delay(0) == NOW


def test_a_negative_delay_is_now() -> None:
    assert options.check_delay(-5) == NOW


def test_a_timestamp_is_absolute() -> None:
    assert options.check_moment(1_900_000_000) == Moment(1_900_000_000.0, absolute=True)


def test_an_aware_datetime_means_its_own_zone() -> None:
    there = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    here = datetime(2030, 1, 1, 3, tzinfo=UTC)
    assert options.check_moment(there) == options.check_moment(here)
    assert options.check_moment(here).seconds == here.timestamp()


def test_an_expiry_takes_three_forms() -> None:
    assert options.check_expiry(60) == Moment(60.0)
    assert options.check_expiry(timedelta(minutes=1)) == Moment(60.0)
    when = datetime(2030, 1, 1, tzinfo=UTC)
    assert options.check_expiry(when) == Moment(when.timestamp(), absolute=True)


def test_an_expiry_that_is_a_number_counts_from_now() -> None:
    """A Unix timestamp is a number too, but here it would be fifty years."""
    assert options.check_expiry(time.time()).absolute is False


def test_the_largest_timedelta_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="at most"):
        options.check_expiry(timedelta.max)


@pytest.mark.parametrize("priority", [-32768, 0, 32767])
def test_priorities_fit_into_a_small_integer(priority: int) -> None:
    assert options.check_priority(priority) == priority


def test_a_unique_key_may_be_missing() -> None:
    assert options.check_unique_key(None) is None
    assert options.check_unique_key("k" * 255) == "k" * 255


def test_tags_become_a_tuple() -> None:
    assert options.check_tags(tag for tag in ("a", "b")) == ("a", "b")


def test_known_names_pass() -> None:
    options.check_names(["retries", "queue"], ["queue", "retries", "tags"])
