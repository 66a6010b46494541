"""What stands in the database for a payload."""

from uuid import UUID

import pytest

from alligator_sql import Gator, Task
from alligator_sql.backends.sql.payloads import pack, unpack

from . import functions

ID = UUID("01a21899-d3fe-7000-a69d-c6f1257e9993")
FUNC = "app.mails:send"
BEGINNING = f'{{"task_id":"{ID}","func":"{FUNC}",'


def test_a_call_is_stored_without_what_its_row_has() -> None:
    assert pack(BEGINNING + '"args":[1]}', ID, FUNC) == "=[1]}"
    assert pack(BEGINNING + '"kwargs":{"a":1}}', ID, FUNC) == '="kwargs":{"a":1}}'


def test_the_call_of_a_task_begins_as_expected() -> None:
    gator = Gator("locmem://payloads")
    task = Task()
    task.to_call(functions.echo, 1)
    message = gator.message_of(task)
    assert pack(message.payload, message.id, message.func) == "=[1]}"


@pytest.mark.parametrize(
    "payload",
    [
        BEGINNING + '"args":["ünïcode"]}',
        BEGINNING + "\x00}",
        BEGINNING + "\ud800}",
        BEGINNING,
        BEGINNING.replace(FUNC, "app.mails:other") + '"args":[1]}',
        BEGINNING.replace(str(ID), "order-7") + '"args":[1]}',
        BEGINNING.upper() + '"args":[1]}',
        f'{{"task_id":"{ID}","func":"{FUNC}"}}',
        BEGINNING + '"args":1}',
        BEGINNING + '"kwargs":{"a":[1]}}',
        BEGINNING + "[1]}",
        "=",
        "=[1]}",
        '="args":[1]}',
        "=text:x",
        "",
        b"\x00\xff",
        BEGINNING.encode() + b"1}",
    ],
)
def test_a_payload_comes_back_as_it_was(payload: str | bytes) -> None:
    stored = pack(payload, ID, FUNC)
    assert "\x00" not in stored
    stored.encode()
    assert unpack(stored, ID, FUNC) == payload


def test_what_stands_there_whole_stays_readable() -> None:
    whole = BEGINNING + '"args":[1]}'
    assert unpack(whole, ID, FUNC) == whole
