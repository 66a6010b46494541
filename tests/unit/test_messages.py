"""The records of the kernel."""

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest

from alligator_sql import constants
from alligator_sql.ids import new_id
from alligator_sql.messages import NOW, Message, Receipt, TaskRecord
from alligator_sql.outcomes import Succeeded

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_message_needs_few_words() -> None:
    message = Message(new_id(), "t", "mail", "m:f", "{}")
    assert (message.priority, message.due, message.expires) == (0, NOW, None)


def test_records_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        NOW.seconds = 1.0  # type: ignore[misc]


def test_records_of_each_task_are_kept_by_the_type_checker_from_being_changed() -> None:
    receipt = Receipt(new_id())
    receipt.duplicate = True  # type: ignore[misc]  # that this is needed is what is tested


def test_records_of_each_task_are_compared_and_hashed_by_value() -> None:
    one = new_id()
    assert {Receipt(one), Receipt(one), Receipt(one, duplicate=True)} == {
        Receipt(one),
        Receipt(one, duplicate=True),
    }
    assert replace(Receipt(one), duplicate=True) == Receipt(one, duplicate=True)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (0, "waiting"),
        (1, "success"),
        (2, "failed"),
        (3, "delayed"),
        (4, "retrying"),
        (5, "canceled"),
        (6, "running"),
        (7, "blocked"),
    ],
)
def test_every_status_has_a_word(status: int, word: str) -> None:
    record = TaskRecord(new_id(), "mail", "m:f", status, 0, 0, 0, MOMENT, MOMENT)
    assert record.status_name == word


def test_every_word_has_a_constant() -> None:
    for status, word in constants.STATUS_NAMES.items():
        assert getattr(constants, word.upper()) == status


def test_a_result_is_kept_when_it_or_its_problem_is_stored() -> None:
    assert not Succeeded(3).kept
    assert Succeeded(3, "3").kept
    assert Succeeded(3, problem="no JSON").kept
