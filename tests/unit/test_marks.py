"""Where the claims of a process go on."""

from uuid import UUID

from alligator_sql.backends.sql.marks import (
    CHEAP,
    FRONT,
    MOST_PLACES,
    SHORTEST_PAUSE,
    Mark,
    Marks,
)

QUEUES = ["b", "a"]
NORMAL, URGENT, UNHURRIED = ("b", 0), ("b", 5), ("b", -3)
OTHER = ("a", 9)


def mark(run_at: float, number: int = 0) -> Mark:
    return Mark(run_at, UUID(int=number))


def test_nothing_is_known_at_first() -> None:
    assert Marks(QUEUES).bounded() == []


def test_a_full_claim_comes_first() -> None:
    assert Marks(QUEUES).full_is_due(0.0, empty=False)


def test_found_places_start_at_the_front_in_the_order_in_which_they_are_served() -> None:
    marks = Marks(QUEUES)
    marks.full_done([OTHER, NORMAL, URGENT, UNHURRIED], now=1.0, cost=0.001)
    order = [URGENT, NORMAL, UNHURRIED, OTHER]
    assert marks.bounded() == [(place, FRONT) for place in order]


def test_a_mark_moves_to_the_last_key_that_was_taken() -> None:
    marks = Marks(QUEUES)
    marks.advance([(NORMAL, mark(1.0, 1)), (NORMAL, mark(2.0, 7)), (URGENT, mark(9.0))])
    assert marks.bounded() == [(URGENT, mark(9.0)), (NORMAL, mark(2.0, 7))]


def test_a_mark_never_moves_back() -> None:
    marks = Marks(QUEUES)
    marks.advance([(NORMAL, mark(2.0, 7))])
    marks.advance([(NORMAL, mark(1.0, 9)), (NORMAL, mark(2.0, 3))])
    assert marks.bounded() == [(NORMAL, mark(2.0, 7))]


def test_a_full_claim_forgets_no_mark() -> None:
    marks = Marks(QUEUES)
    marks.advance([(NORMAL, mark(2.0))])
    marks.full_done([NORMAL], now=1.0, cost=0.001)
    assert marks.bounded() == [(NORMAL, mark(2.0))]


def test_equal_due_times_are_told_apart_by_their_ids() -> None:
    marks = Marks(QUEUES)
    marks.advance([(NORMAL, mark(2.0, 1))])
    marks.advance([(NORMAL, mark(2.0, 2))])
    assert marks.bounded() == [(NORMAL, mark(2.0, 2))]


def test_a_cheap_full_claim_follows_every_empty_one() -> None:
    marks = Marks(QUEUES)
    marks.full_done([NORMAL], now=10.0, cost=CHEAP)
    assert marks.full_is_due(10.0, empty=True)
    assert not marks.full_is_due(10.0, empty=False)


def test_filled_claims_cannot_keep_a_full_one_away() -> None:
    marks = Marks(QUEUES)
    marks.full_done([NORMAL], now=10.0, cost=0.001)
    assert not marks.full_is_due(10.0 + SHORTEST_PAUSE * 0.99, empty=False)
    assert marks.full_is_due(10.0 + SHORTEST_PAUSE, empty=False)


def test_a_full_claim_that_is_dear_once_is_no_dear_one() -> None:
    marks = Marks(QUEUES)
    marks.full_done([NORMAL], now=10.0, cost=50.0)
    assert marks.full_is_due(10.0, empty=True)
    marks.full_done([NORMAL], now=11.0, cost=CHEAP)
    marks.full_done([NORMAL], now=12.0, cost=50.0)
    assert marks.full_is_due(12.0, empty=True)


def test_dear_full_claims_take_a_tenth_of_the_time() -> None:
    marks = Marks(QUEUES)
    marks.full_done([NORMAL], now=9.0, cost=0.7)
    marks.full_done([NORMAL], now=10.0, cost=0.5)
    assert not marks.full_is_due(14.9, empty=True)
    assert marks.full_is_due(15.0, empty=True)


def test_dear_claims_that_have_become_cheap_are_cheap_again() -> None:
    marks = Marks(QUEUES)
    marks.full_done([NORMAL], now=9.0, cost=0.5)
    marks.full_done([NORMAL], now=10.0, cost=0.5)
    marks.full_done([NORMAL], now=15.0, cost=0.001)
    assert marks.full_is_due(15.0, empty=True)


def test_places_without_tasks_are_forgotten_when_there_are_too_many() -> None:
    marks = Marks(QUEUES)
    marks.full_done([("a", priority) for priority in range(MOST_PLACES)], now=1.0, cost=0.001)
    assert len(marks.bounded()) == MOST_PLACES
    marks.full_done([("a", 7), ("b", 1)], now=2.0, cost=0.001)
    assert [place for place, _ in marks.bounded()] == [("b", 1), ("a", 7)]


def test_a_queue_that_is_listed_twice_has_its_first_place() -> None:
    marks = Marks(["b", "a", "b"])
    marks.full_done([OTHER, NORMAL], now=1.0, cost=0.001)
    assert [place for place, _ in marks.bounded()] == [NORMAL, OTHER]
