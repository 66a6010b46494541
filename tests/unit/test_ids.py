"""The ids of tasks."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from alligator_sql.ids import _Sequence, id_of, new_id, new_ids, new_task_id, shown


def test_they_grow_however_fast_they_are_made() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_they_are_of_version_7() -> None:
    made = new_id()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_many_at_once_are_what_one_after_the_other_would_be() -> None:
    before, ids, after = new_id(), [uuid.UUID(bytes=made) for made in new_ids(10_000)], new_id()
    assert [before, *ids, after] == sorted({before, *ids, after})
    assert {made.version for made in ids} == {7}
    assert {made.variant for made in ids} == {uuid.RFC_4122}


def test_their_text_is_that_of_a_uuid() -> None:
    assert all(shown(made) == str(uuid.UUID(bytes=made)) for made in new_ids(3))


def test_threads_never_make_the_same() -> None:
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(2000)], range(4)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({made for batch in batches for made in batch}) == 8000


def test_who_comes_right_after_the_lock_changes_nothing() -> None:
    sequence = _Sequence()
    rivals: list[range] = []

    class Lock:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            if not rivals:
                rivals.append(range(0))
                rivals.append(sequence.take(2))

    sequence._lock = Lock()  # type: ignore[assignment]
    own = sequence.take(3)
    assert len(own) == 3
    assert not set(own) & set(rivals[1])


def test_as_text_they_are_the_same() -> None:
    before, text, after = new_id(), new_task_id(), new_id()
    assert text == str(uuid.UUID(text))
    assert before < uuid.UUID(text) < after
    assert uuid.UUID(text).version == 7


def test_a_uuid_stands_for_itself() -> None:
    made = new_id()
    assert id_of(str(made)) == made


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_another_text_has_always_the_same_id(text: str) -> None:
    assert id_of(text) == id_of(text)


def test_different_texts_have_different_ids() -> None:
    assert len({id_of(f"invoice-{number}") for number in range(1000)}) == 1000
    assert id_of("invoice-1").version == 5
