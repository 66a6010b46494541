"""How many tasks a worker holds."""

from alligator_sql.workers.prefetch import HORIZON, LARGEST_BATCH, Prefetch


def learned(slots: int, seconds: float) -> Prefetch:
    prefetch = Prefetch(slots)
    for _ in range(200):
        prefetch.observe(seconds)
    return prefetch


def test_it_starts_with_what_starts_at_once() -> None:
    assert Prefetch(1).wanted(0) == 1
    assert Prefetch(8).wanted(0) == 8


def test_the_first_task_is_all_that_is_known() -> None:
    prefetch = Prefetch(1)
    prefetch.observe(HORIZON / 10)
    assert prefetch.target == 11


def test_short_tasks_are_claimed_in_large_batches() -> None:
    assert learned(1, 0.00001).wanted(1) == LARGEST_BATCH
    assert learned(8, 0.00001).wanted(8) == LARGEST_BATCH


def test_long_tasks_are_left_to_the_others() -> None:
    assert learned(1, 60.0).target == 1
    assert learned(8, 60.0).target == 8


def test_what_is_held_can_be_started_within_the_horizon() -> None:
    for seconds in (0.001, 0.005, 0.02):
        prefetch = learned(4, seconds)
        waiting = prefetch.target - 4
        assert waiting * seconds / 4 <= HORIZON * 1.01


def test_a_full_worker_wants_nothing() -> None:
    prefetch = learned(1, 0.001)
    assert prefetch.wanted(prefetch.target) == 0


def test_a_round_trip_must_be_worth_it() -> None:
    prefetch = learned(1, 0.001)
    target = prefetch.target
    assert prefetch.wanted(target - 1) == 0
    assert prefetch.wanted(target // 2) >= target // 2
    assert prefetch.wanted(prefetch.reserve + 1) == target - prefetch.reserve - 1


def test_it_is_worth_it_sooner_when_something_is_sent_anyway() -> None:
    prefetch = learned(1, 0.001)
    target = prefetch.target
    assert prefetch.wanted(target - target // 4) == 0
    assert prefetch.wanted(target - target // 4, at_hand=True) == target // 4
    assert prefetch.wanted(target - 1, at_hand=True) == 0


def test_there_is_a_reserve_for_any_number_of_slots() -> None:
    for slots, ahead in ((1, LARGEST_BATCH), (64, LARGEST_BATCH), (2000, 2000)):
        prefetch = learned(slots, 0.0001)
        assert prefetch.reserve == ahead // 2
        assert prefetch.wanted(slots + prefetch.reserve) == ahead // 2
    assert learned(8, 60.0).reserve == 0


def test_a_free_slot_is_always_worth_it() -> None:
    assert learned(4, 60.0).wanted(3) == 1


def test_a_stall_makes_it_modest_at_once() -> None:
    prefetch = learned(2, 0.0001)
    prefetch.stalled(5.0)
    assert prefetch.target == 2


def test_it_recovers_from_a_stall() -> None:
    prefetch = learned(2, 0.0001)
    prefetch.stalled(5.0)
    for _ in range(200):
        prefetch.observe(0.0001)
    assert prefetch.target > 100


def test_more_slots_than_a_batch_are_filled() -> None:
    assert learned(LARGEST_BATCH + 100, 0.001).wanted(0) >= LARGEST_BATCH
