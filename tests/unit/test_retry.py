"""When to try again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alligator_sql.retry import FIRST_DELAY, LONGEST_DELAY, check_backoff, delay_after


@given(st.integers(1, 10**9))
def test_the_exponential_delay_stays_between_its_limits(failures: int) -> None:
    ceiling = LONGEST_DELAY if failures > 12 else FIRST_DELAY * 2 ** (failures - 1)
    assert 0 <= delay_after(failures) <= ceiling


def test_the_exponential_delay_has_full_jitter() -> None:
    """A thousand tasks that fail together come back spread over the whole interval."""
    delays = [delay_after(5) for _ in range(1000)]
    tenths = {int(delay / 16 * 10) for delay in delays}
    assert tenths == set(range(10))


def test_it_grows() -> None:
    def mean(failures: int) -> float:
        return sum(delay_after(failures) for _ in range(500)) / 500

    assert mean(1) < mean(3) < mean(5) < mean(8)


@pytest.mark.parametrize("failures", [1, 2, 1000])
def test_a_number_is_a_fixed_delay(failures: int) -> None:
    assert delay_after(failures, 7) == 7.0
    assert delay_after(failures, 0) == 0.0


def test_a_list_gives_each_delay_and_repeats_its_last() -> None:
    assert [delay_after(failures, [1, 5, 60]) for failures in (1, 2, 3, 4, 99)] == [
        1,
        5,
        60,
        60,
        60,
    ]


@pytest.mark.parametrize("backoff", [None, 0, 0.5, 3600, [0], [1, 2.5], (1, 2)])
def test_what_is_a_backoff_stays_as_it_is(backoff: object) -> None:
    assert check_backoff(backoff) is backoff  # type: ignore[arg-type]


def test_delays_leave_the_generator_of_the_application_alone() -> None:
    random.seed(1)
    before = random.getstate()
    delay_after(3, None)
    assert random.getstate() == before
