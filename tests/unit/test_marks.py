"""Where the claims of a process go on."""

from uuid import UUID

from alligator_sql.backends.sql.marks import (
    CHEAP,
    FRONT,
    MOST_PRIORITIES,
    SHORTEST_PAUSE,
    Mark,
    Marks,
)


def mark(run_at: float, number: int = 0) -> Mark:
    return Mark(run_at, UUID(int=number))


def test_nothing_is_known_at_first() -> None:
    assert Marks().bounded() == []


def test_a_full_claim_comes_first() -> None:
    assert Marks().full_is_due(0.0, empty=False)


def test_found_priorities_start_at_the_front_most_urgent_first() -> None:
    marks = Marks()
    marks.full_done([0, 5, -3], now=1.0, cost=0.001)
    assert marks.bounded() == [(5, FRONT), (0, FRONT), (-3, FRONT)]


def test_a_mark_moves_to_the_last_key_that_was_taken() -> None:
    marks = Marks()
    marks.advance([(0, mark(1.0, 1)), (0, mark(2.0, 7)), (5, mark(9.0))])
    assert marks.bounded() == [(5, mark(9.0)), (0, mark(2.0, 7))]


def test_a_mark_never_moves_back() -> None:
    marks = Marks()
    marks.advance([(0, mark(2.0, 7))])
    marks.advance([(0, mark(1.0, 9)), (0, mark(2.0, 3))])
    assert marks.bounded() == [(0, mark(2.0, 7))]


def test_a_full_claim_forgets_no_mark() -> None:
    marks = Marks()
    marks.advance([(0, mark(2.0))])
    marks.full_done([0], now=1.0, cost=0.001)
    assert marks.bounded() == [(0, mark(2.0))]


def test_equal_due_times_are_told_apart_by_their_ids() -> None:
    marks = Marks()
    marks.advance([(0, mark(2.0, 1))])
    marks.advance([(0, mark(2.0, 2))])
    assert marks.bounded() == [(0, mark(2.0, 2))]


def test_a_cheap_full_claim_follows_every_empty_one() -> None:
    marks = Marks()
    marks.full_done([0], now=10.0, cost=CHEAP)
    assert marks.full_is_due(10.0, empty=True)
    assert not marks.full_is_due(10.0, empty=False)


def test_filled_claims_cannot_keep_a_full_one_away() -> None:
    marks = Marks()
    marks.full_done([0], now=10.0, cost=0.001)
    assert not marks.full_is_due(10.0 + SHORTEST_PAUSE * 0.99, empty=False)
    assert marks.full_is_due(10.0 + SHORTEST_PAUSE, empty=False)


def test_dear_full_claims_take_a_tenth_of_the_time() -> None:
    marks = Marks()
    marks.full_done([0], now=10.0, cost=0.5)
    assert not marks.full_is_due(14.9, empty=True)
    assert marks.full_is_due(15.0, empty=True)


def test_dear_claims_that_have_become_cheap_are_cheap_again() -> None:
    marks = Marks()
    marks.full_done([0], now=10.0, cost=0.5)
    marks.full_done([0], now=15.0, cost=0.001)
    assert marks.full_is_due(15.0, empty=True)


def test_priorities_without_tasks_are_forgotten_when_there_are_too_many() -> None:
    marks = Marks()
    marks.full_done(range(MOST_PRIORITIES), now=1.0, cost=0.001)
    assert len(marks.bounded()) == MOST_PRIORITIES
    marks.full_done([7, 1000], now=2.0, cost=0.001)
    assert [priority for priority, _ in marks.bounded()] == [1000, 7]
