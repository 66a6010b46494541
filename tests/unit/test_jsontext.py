"""JSON as it is stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alligator_sql import PayloadError, jsontext

ANY_TEXT = st.text(alphabet=st.characters(categories=None))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back_unchanged(value: object) -> None:
    assert jsontext.loads(jsontext.dumps(value)) == value


@given(PLAIN)
def test_the_text_is_strict_ascii_without_control_characters(value: object) -> None:
    text = jsontext.dumps(value)
    assert text.isascii()
    assert all(ord(character) >= 32 for character in text)


@given(PLAIN, st.sampled_from([float("nan"), float("inf"), b"x", {1}, object()]))
def test_one_bad_part_is_enough(value: object, bad: object) -> None:
    with pytest.raises(PayloadError, match=r"value\[1\]\['x'\]\[0\] cannot be stored"):
        jsontext.dumps([value, {"x": [bad]}], "value")


def test_tuples_come_back_as_lists() -> None:
    assert jsontext.loads(jsontext.dumps((1, (2, 3)))) == [1, [2, 3]]


def test_subclasses_of_plain_types_are_stored_as_these() -> None:
    class Name(str):
        __slots__ = ()

    assert jsontext.loads(jsontext.dumps([Name("x"), True])) == ["x", True]


@pytest.mark.parametrize("key", [1, 1.5, None, True, (1, 2)])
def test_keys_that_json_would_change_are_refused(key: object) -> None:
    with pytest.raises(PayloadError, match=r"value\['a'\]\[0\] has the key"):
        jsontext.dumps({"a": [{key: 1}]}, "value")


def test_a_long_culprit_is_shown_in_short() -> None:
    with pytest.raises(PayloadError) as caught:
        jsontext.dumps([set(range(1000))])
    assert len(str(caught.value)) < 400


def test_bytes_are_read_as_well_as_text() -> None:
    assert jsontext.loads(json.dumps({"a": 1}).encode()) == {"a": 1}


@pytest.mark.parametrize("text", ['{"a":1}', ' {"a":1}', '{"a":1}\n', "[1]", "1"])
def test_text_from_elsewhere_is_read_with_its_white_space(text: str) -> None:
    assert jsontext.loads(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "{", '{"a":1}{"a":1}', '{"a":1} x'])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        jsontext.loads(text)


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["a"] = [endless]
    with pytest.raises(PayloadError, match="contain themselves"):
        jsontext.dumps(endless)
