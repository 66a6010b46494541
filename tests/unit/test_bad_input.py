"""What is refused, and how: the message says what was wrong, the limit and what to do.

Whatever is refused leaves nothing in the queue.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from alligator_sql import (
    FAILED,
    SUCCESS,
    WAITING,
    AlligatorException,
    ForbiddenCallableError,
    Gator,
    InvalidOptionError,
    PayloadError,
    ResultUnavailableError,
    SignatureError,
    TaskFailedError,
    UnknownBackendError,
    UnknownCallableError,
    UnknownOptionError,
    Unsupported,
    Worker,
)
from alligator_sql.ids import id_of, new_id
from alligator_sql.messages import Message, TaskRecord

from . import functions
from .functions import add, echo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def refused(gator: Gator) -> Callable[..., Any]:
    """A block that must raise this, with all of these words, and store nothing."""

    @contextmanager
    def check(error: type[AlligatorException], *words: str) -> Iterator[None]:
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value)
        assert [word for word in words if word not in message] == [], message
        assert gator.len() == 0

    return check


def found(gator: Gator, task_id: str) -> TaskRecord:
    record = gator.find(task_id)
    assert record is not None
    return record


def burst(gator: Gator) -> None:
    Worker(gator, burst=True).run_forever()


# Arguments


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (object, ["['args'][0]", "<class 'object'>", "of type type", "primary key"]),
        ({1, 2}, ["['args'][0]", "{1, 2}", "of type set", "Pass plain values"]),
        ({"user": [1, b"x"]}, ["['args'][0]['user'][1]", "b'x'", "of type bytes"]),
        (datetime(2030, 1, 1, tzinfo=UTC), ["datetime", "Pass plain values"]),
        (float("nan"), ["['args'][0]", "nan", "finite float"]),
        ([float("inf")], ["['args'][0][0]", "inf", "finite float"]),
        ({"x": -float("inf")}, ["['args'][0]['x']", "-inf", "finite float"]),
        ({1: "one"}, ["['args'][0]", "the key 1", "of type int", "Use str keys"]),
        ([{None: 0}], ["['args'][0][0]", "the key None", "NoneType", "Use str keys"]),
        (nested(100_000), ["nested too deeply"]),
        (itself(), ["contain themselves"]),
        (functions.Unprintable(), ["['args'][0]", "<no repr>", "of type Unprintable"]),
        (10**5000, ["['args'][0]", "of type int", "digits"]),
    ],
    ids=lambda value: "words" if isinstance(value, list) else type(value).__name__,
)
def test_arguments_that_json_does_not_hold(
    gator: Gator, refused: Any, argument: Any, words: list[str]
) -> None:
    with refused(PayloadError, *words):
        gator.task(echo, argument)


def test_the_path_leads_to_a_keyword_argument(gator: Gator, refused: Any) -> None:
    with refused(PayloadError, "task['kwargs']['value']['when']", "of type object"):
        gator.task(echo, value={"when": object()})


@pytest.mark.parametrize(
    "argument",
    [
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff and \ud800",
        "\U0001f40a",
        {"\x00\ud800": "\x00"},
        10**400,
        -(10**400),
        1e308,
        5e-324,
        [[[]]],
        {"": None},
        "'; drop table alligator_tasks; --",
        "%s %(x)s :x ? $1 {x}",
        " \t\r\n  ",
    ],
    ids=repr,
)
def test_unusual_arguments_come_back_unchanged(
    gator: Gator, journal: list[Any], argument: Any
) -> None:
    task = gator.options(keep_result=True).task(echo, argument)
    burst(gator)
    assert journal == [argument]
    assert gator.result(task.task_id, timeout=0) == argument


def test_what_nests_as_deeply_as_allowed_can_be_loaded_again(
    gator: Gator, journal: list[Any]
) -> None:
    gator.task(echo, nested(300))
    burst(gator)
    assert journal == [nested(300)]


def sized(gator: Gator, size: int) -> str:
    """Return an argument whose task takes ``size`` bytes."""
    task = gator.task_class()
    task.to_call(echo, "")
    return "x" * (size - len(gator.message_of(task).payload))


def test_the_largest_payload_is_accepted(gator: Gator, journal: list[Any]) -> None:
    value = sized(gator, 1024 * 1024)
    gator.task(echo, value)
    burst(gator)
    assert journal == [value]


def test_one_byte_more_is_refused(gator: Gator, refused: Any) -> None:
    with refused(PayloadError, "1048577 bytes", "limit is 1048576", "max_payload", "pass its key"):
        gator.task(echo, sized(gator, 1024 * 1024) + "x")


def test_the_limit_can_be_moved(conn_string: str) -> None:
    with closing(Gator(conn_string, max_payload=200)) as gator:
        with pytest.raises(PayloadError, match="the limit is 200"):
            gator.task(echo, "x" * 200)
        assert gator.len() == 0


def test_a_refused_task_leaves_the_transaction_of_the_caller_usable(sqlite_dsn: str) -> None:
    engine = create_engine(sqlite_dsn)
    with closing(Gator(engine=engine)) as gator:
        with engine.begin() as connection:
            connection.execute(text("create table orders (id integer)"))
            joined = gator.using(connection)
            joined.task(add, 1, 2)
            with pytest.raises(PayloadError):
                joined.task(echo, object())
            with pytest.raises(SignatureError):
                joined.task(add)
            connection.execute(text("insert into orders values (1)"))
        with engine.connect() as connection:
            assert connection.scalar(text("select count(*) from orders")) == 1
        assert gator.pop() == 3
        assert gator.len() == 0
    engine.dispose()


# Times


def test_a_naive_datetime(gator: Gator, refused: Any) -> None:
    naive = datetime(2030, 1, 1)  # noqa: DTZ001
    with refused(
        InvalidOptionError, "delay_until=datetime.datetime(2030, 1, 1", "no time zone", "aware"
    ):
        gator.options(delay_until=naive).task(echo)
    with refused(InvalidOptionError, "expires=datetime.datetime(2030, 1, 1", "no time zone"):
        gator.options(expires=naive).task(echo)


def test_a_date(gator: Gator, refused: Any) -> None:
    with refused(InvalidOptionError, "delay_until=datetime.date(2030, 1, 1)", "aware datetime"):
        gator.options(delay_until=date(2030, 1, 1)).task(echo)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("delay_by", float("nan")),
        ("delay_by", float("inf")),
        ("delay_by", "60"),
        ("delay_by", timedelta(seconds=60)),
        ("delay_until", float("nan")),
        ("delay_until", "2030-01-01"),
        ("expires", float("nan")),
        ("expires", "tomorrow"),
    ],
)
def test_times_that_are_none(gator: Gator, refused: Any, option: str, value: Any) -> None:
    with refused(InvalidOptionError, f"{option}={value!r}", "give a", "seconds"):
        gator.options(**{option: value}).task(echo)


@pytest.mark.parametrize(
    "moment", [253402300800, 253402300800.0, time.time() * 1000, 10**400], ids=lambda value: ""
)
def test_after_the_year_9999(gator: Gator, refused: Any, moment: float) -> None:
    with refused(InvalidOptionError, "delay_until=", "after the year 9999", "in seconds"):
        gator.options(delay_until=moment).task(echo)


@pytest.mark.parametrize("seconds", [3_162_240_001, 1e300, 10**400], ids=lambda value: "")
@pytest.mark.parametrize("option", ["delay_by", "expires"])
def test_more_than_a_hundred_years(gator: Gator, refused: Any, option: str, seconds: float) -> None:
    with refused(InvalidOptionError, f"{option}=", "at most 3162240000 seconds"):
        gator.options(**{option: seconds}).task(echo)


@pytest.mark.parametrize(
    "options",
    [
        {"delay_by": -1},
        {"delay_by": -1e300},
        {"delay_by": -(10**400)},
        {"delay_until": -1},
        {"delay_until": 0},
        {"delay_until": datetime(1, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_past_is_now(gator: Gator, options: dict[str, Any]) -> None:
    gator.options(**options).task(add, 1, 2)
    assert gator.pop() == 3


def test_the_last_moments_are_accepted(gator: Gator) -> None:
    last = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
    task = gator.options(delay_until=last).task(echo)
    assert abs(found(gator, task.task_id).run_at - last) < timedelta(seconds=1)
    gator.options(delay_by=3_162_240_000).task(echo)
    assert gator.pop() is None
    assert gator.len() == 2


# Queues and ids


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ("", ["queue=''", "0 characters", "give 1 to 128"]),
        ("q" * 129, ["129 characters", "give 1 to 128"]),
        ("a\nb", [r"queue='a\nb'", "control characters"]),
        ("a\x00b", [r"queue='a\x00b'", "control characters"]),
        ("\ud800", [r"'\ud800'", "control characters"]),
        (7, ["queue=7", "give a text, not int"]),
    ],
)
def test_names_that_no_queue_can_have(
    gator: Gator, conn_string: str, refused: Any, queue: Any, words: list[str]
) -> None:
    with refused(InvalidOptionError, *words):
        Gator(conn_string, queue)
    with refused(InvalidOptionError, *words):
        gator.options(queue=queue).task(echo)


@pytest.mark.parametrize(
    "queue", ["q" * 128, "O'Brien's \"mail\"", "100%", "%s", "a:b", "a b", "naïve 🐊", "a;b", "\\"]
)
def test_names_that_queues_may_have(conn_string: str, queue: str) -> None:
    with closing(Gator(conn_string, queue)) as gator:
        gator.task(add, 1, 2)
        task = gator.task(add, 3, 4)
        assert gator.pop() == 3
        assert found(gator, task.task_id).queue == queue
        assert Worker(gator).check_and_run_task()
        assert gator.len() == 0


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("", ["task_id=''", "give 1 to 255"]),
        ("i" * 256, ["256 characters", "give 1 to 255"]),
        ("a\nb", ["control characters"]),
        (42, ["task_id=42", "give a text, not int"]),
    ],
)
def test_ids_that_no_task_can_have(
    gator: Gator, refused: Any, task_id: Any, words: list[str]
) -> None:
    with refused(InvalidOptionError, *words):
        gator.options(task_id=task_id).task(echo)


# Other options


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("retires", "retries"), ("delay", "delay_by"), ("priorty", "priority"), ("que", "queue")],
)
def test_an_unknown_option_brings_the_nearest(
    gator: Gator, refused: Any, given: str, nearest: str
) -> None:
    with refused(UnknownOptionError, repr(given), f"Did you mean {nearest!r}?"):
        gator.options(**{given: 1})


def test_an_option_like_no_other_brings_all(gator: Gator, refused: Any) -> None:
    with refused(UnknownOptionError, "'zzzzzz'", "Known: ", "backoff", "retries", "unique_key"):
        gator.options(zzzzzz=1)


@pytest.mark.parametrize("is_async", [True, False])
def test_an_option_of_the_future(
    gator: Gator, refused: Any, journal: list[Any], is_async: bool
) -> None:
    with refused(Unsupported, "'depends_on'", "not available yet"):
        gator.options(is_async=is_async, depends_on=["other"]).task(echo)
    assert journal == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("timeout", 0, ["timeout=0", "seconds above 0"]),
        ("timeout", float("nan"), ["timeout=nan", "seconds above 0"]),
        ("timeout", "5", ["timeout='5'", "seconds above 0"]),
        ("retries", -1, ["retries=-1", "from 0 to 1000000"]),
        ("retries", 1_000_001, ["retries=1000001", "from 0 to 1000000"]),
        ("retries", "many", ["retries='many'", "whole number"]),
        ("retries", float("inf"), ["retries=inf", "whole number"]),
        ("retries", None, ["retries=None", "whole number"]),
        ("priority", 32_768, ["priority=32768", "-32768 to 32767", "higher runs first"]),
        ("priority", 1.5, ["priority=1.5", "whole number"]),
        ("backoff", -1, ["backoff=-1", "seconds from 0"]),
        ("backoff", [], ["backoff=[]", "a list of seconds"]),
        ("backoff", [1, "2"], ["backoff=[1, '2']", "a list of seconds"]),
        ("backoff", float("nan"), ["backoff=nan", "seconds from 0"]),
        ("backoff", 1e300, ["backoff=1e+300", "to 3162240000"]),
        ("unique_key", "", ["unique_key=''", "give 1 to 255"]),
        ("unique_key", "k" * 256, ["256 characters", "give 1 to 255"]),
        ("tags", "mail", ["tags='mail'", "a list of texts"]),
        ("tags", ["a\nb"], [r"tag='a\nb'", "control characters"]),
    ],
)
def test_options_with_impossible_values(
    gator: Gator, refused: Any, option: str, value: Any, words: list[str]
) -> None:
    with refused(InvalidOptionError, *words):
        gator.options(**{option: value}).task(echo)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tasks", -1),
        ("max_tasks", "2"),
        ("nap_time", -0.1),
        ("nap_time", float("nan")),
        ("concurrency", 0),
        ("grace", -1),
        ("lease", 0),
        ("keep_success", -1),
    ],
)
def test_a_worker_with_impossible_values(gator: Gator, name: str, value: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Worker(gator, **{name: value})
    assert f"{name}={value!r}" in str(caught.value)
    assert "at least" in str(caught.value)


# Stores


@pytest.mark.parametrize("conn_string", ["mysql://me:s3cret@host/db", "mongodb://:s3cret@host/0"])
def test_an_unknown_scheme_says_which_exist(conn_string: str) -> None:
    with pytest.raises(UnknownBackendError) as caught:
        Gator(conn_string)
    message = str(caught.value)
    assert message.startswith(f"No backend for {conn_string.partition(':')[0]}://.")
    assert "postgresql:// (pip install 'alligator-sql[postgres]')" in message
    assert "sqlite://" in message
    assert "locmem://" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("conn_string", ["tasks.db", "/srv/tasks.db", ""])
def test_a_string_without_a_scheme(conn_string: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLIGATOR_CONN", raising=False)
    with pytest.raises(UnknownBackendError, match=r"without a scheme\. Known: postgresql://"):
        Gator(conn_string)


@pytest.mark.parametrize("conn_string", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory(conn_string: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"needs a file.*sqlite:///tasks.db.*locmem://"):
        Gator(conn_string)


# Functions


def test_a_lambda(gator: Gator, refused: Any) -> None:
    with refused(UnknownCallableError, "lambda", "module-level function", "is_async=False"):
        gator.task(lambda: None)


def test_a_nested_function(gator: Gator, refused: Any) -> None:
    def inner() -> None:
        pass

    with refused(UnknownCallableError, "inner", "top of its module", "is_async=False"):
        gator.task(inner)


def test_a_method(gator: Gator, refused: Any) -> None:
    with refused(UnknownCallableError, "'Greeter.greet' is a method", "primary key"):
        gator.task(functions.Greeter().greet)


@pytest.mark.parametrize(
    "func",
    [functions.Greeter, functions.Callable_(), print, "text", [1], None],
    ids=["class", "unhashable", "builtin", "text", "list", "None"],
)
def test_what_is_no_function(gator: Gator, refused: Any, func: Any) -> None:
    with refused(AlligatorException):
        gator.task(func)


def test_a_static_method(gator: Gator, refused: Any) -> None:
    with refused(ForbiddenCallableError, "Greeter.wave", "not the name of a module-level function"):
        gator.task(functions.Greeter.wave)


def test_a_private_function(gator: Gator, refused: Any) -> None:
    with refused(ForbiddenCallableError, "functions:_private", "public name"):
        gator.task(functions._private)


def test_a_function_of_main(tmp_path: Path, sqlite_dsn: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
from alligator_sql import Gator

def cleanup():
    pass

gator = Gator()
try:
    gator.task(cleanup)
finally:
    print(gator.len())
"""
    )
    environment = os.environ | {"ALLIGATOR_CONN": sqlite_dsn, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout == "0\n"
    last_line = run.stderr.splitlines()[-1]
    assert "UnknownCallableError: 'cleanup' lives in __main__" in last_line
    assert "Move it to a module that the worker can import" in last_line


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, ["missing", "'a'"]),
        ((1, 2, 3), {}, ["too many positional arguments"]),
        ((1,), {"c": 3}, ["unexpected keyword argument", "'c'"]),
        ((1,), {"a": 2}, ["multiple values", "'a'"]),
    ],
)
def test_a_call_that_does_not_fit(
    gator: Gator, refused: Any, args: Any, kwargs: Any, words: list[str]
) -> None:
    with refused(SignatureError, "add(a: int, b: int = 0) -> int", *words):
        gator.task(add, *args, **kwargs)
    with refused(SignatureError, *words):
        gator.options(is_async=False).task(add, *args, **kwargs)


# What a worker meets


def test_a_hook_that_raises_changes_nothing(gator: Gator, caplog: pytest.LogCaptureFixture) -> None:
    hooks = {"on_error": functions.clumsy_hook, "on_success": functions.clumsy_hook}
    fails = gator.options(retries=1, backoff=0, **hooks).task(functions.fail, "the task broke")
    works = gator.options(keep_result=True, **hooks).task(add, 1, 2)
    burst(gator)
    record = found(gator, fails.task_id)
    assert (record.status, record.attempts) == (FAILED, 2)
    assert record.error == "ValueError: the task broke"
    assert gator.result(works.task_id, timeout=0) == 3
    assert caplog.text.count("functions:clumsy_hook of task") == 3
    assert "the hook broke" in caplog.text


@pytest.mark.parametrize(
    ("hook", "kind"),
    [
        (functions.nonsense_retries, "TypeError"),
        (functions.nonsense_backoff, "InvalidOptionError: backoff=-1"),
        (functions.unstorable_arguments, "PayloadError"),
    ],
)
def test_a_hook_that_spoils_the_task_fails_it(
    gator: Gator, journal: list[Any], hook: Any, kind: str
) -> None:
    task = gator.options(retries=1, backoff=0, on_error=hook).task(functions.fail)
    gator.task(echo, "next")
    burst(gator)
    record = found(gator, task.task_id)
    assert record.status == FAILED
    assert record.error is not None
    assert record.error.startswith(kind)
    assert journal == ["next"]


@pytest.mark.parametrize("leaving", [functions.leave, functions.press_ctrl_c])
def test_a_task_cannot_end_the_worker(gator: Gator, journal: list[Any], leaving: Any) -> None:
    task = gator.task(leaving)
    gator.task(echo, "next")
    burst(gator)
    assert journal == ["next"]
    record = found(gator, task.task_id)
    assert record.status == FAILED
    assert record.error is not None
    assert record.error.startswith(("SystemExit: 3", "KeyboardInterrupt: "))


def test_an_exception_without_words(gator: Gator) -> None:
    task = gator.task(functions.fail_without_words)
    burst(gator)
    assert found(gator, task.task_id).error == "UnprintableError: <no message>"


@pytest.mark.parametrize(
    "words", ["\x00", "\ud800", "x" * 1_000_000], ids=["NUL", "surrogate", "long"]
)
def test_errors_that_no_text_column_holds(gator: Gator, words: str) -> None:
    task = gator.task(functions.fail, words)
    burst(gator)
    record = found(gator, task.task_id)
    assert record.status == FAILED
    assert record.error is not None
    assert record.error.startswith("ValueError: ")
    assert len(record.error) < 70_000


@pytest.fixture
def vanished(gator: Gator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a task whose module has gone since it was enqueued."""
    module = tmp_path / "vanishing.py"
    module.write_text("def work():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from vanishing import work  # type: ignore[import-not-found]

    task = gator.task(work)
    module.unlink()
    monkeypatch.delitem(sys.modules, "vanishing")
    return task.task_id


def test_a_module_that_is_gone_burns_no_attempt(
    gator: Gator, vanished: str, journal: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    gator.task(echo, "next")
    burst(gator)
    record = found(gator, vanished)
    assert (record.status, record.attempts) == (WAITING, 0)
    assert record.run_at > record.created_at + timedelta(seconds=3)
    assert journal == ["next"]
    assert "unroutable task" in caplog.text
    assert "No module named 'vanishing'" in caplog.text


def test_a_module_that_leaves_while_it_is_imported(
    gator: Gator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: list[Any]
) -> None:
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    task_id = forge(gator, {"func": "leaving:work"})
    gator.task(echo, "next")
    burst(gator)
    assert journal == ["next"]
    record = found(gator, task_id)
    assert (record.status, record.attempts) == (WAITING, 0)


def test_a_result_that_is_not_json(gator: Gator) -> None:
    task = gator.options(keep_result=True).task(functions.complex_number)
    burst(gator)
    assert found(gator, task.task_id).status == SUCCESS
    with pytest.raises(ResultUnavailableError, match=r"could not be stored.*\(1\+2j\).*complex"):
        gator.result(task.task_id, timeout=0)


def test_a_result_that_is_too_large(gator: Gator) -> None:
    task = gator.options(keep_result=True).task(functions.huge_result, 2_000_000)
    burst(gator)
    assert found(gator, task.task_id).status == SUCCESS
    with pytest.raises(ResultUnavailableError, match="2000002 bytes of JSON, 1048576 are kept"):
        gator.result(task.task_id, timeout=0)


def test_a_result_that_nobody_wanted(gator: Gator) -> None:
    task = gator.task(add, 1, 2)
    burst(gator)
    with pytest.raises(ResultUnavailableError, match=r"not kept.*keep_result=True"):
        gator.result(task.task_id, timeout=0)


# What a stored row may not do


def forge(gator: Gator, data: dict[str, Any] | str) -> str:
    """Store a row as somebody could who can write to the store but not to the code."""
    task_id = str(new_id())
    if isinstance(data, dict):
        data = json.dumps({"task_id": task_id} | data)
    gator.store.enqueue([Message(id_of(task_id), task_id, gator.queue_name, "any:name", data)])
    return task_id


def test_the_standard_library_is_refused_at_enqueue(gator: Gator, refused: Any) -> None:
    with refused(
        ForbiddenCallableError, "posix:system", "standard library", "function of your own", "allow="
    ):
        gator.task(os.system, "true")
    with refused(ForbiddenCallableError, "subprocess:getoutput", "allow=['subprocess']"):
        gator.task(subprocess.getoutput, "true")


def test_a_module_that_ends_whoever_imports_it_does_not_end_the_event_loop(
    gator: Gator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rude.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = json.dumps({"task_id": "rude", "func": "rude:f"})
    gator.store.enqueue([Message(id_of("rude"), "rude", gator.queue_name, "rude:f", data)])
    task = gator.task(functions.add_later, 1, 2)
    Worker(gator, burst=True, executor="asyncio").run_forever()
    assert found(gator, "rude").status == FAILED
    assert found(gator, task.task_id).status == SUCCESS


@pytest.mark.parametrize("name", ["os:system", "posix:system", "subprocess:getoutput"])
@pytest.mark.parametrize("place", ["func", "on_start", "on_success", "on_error"])
def test_a_forged_row_cannot_call_the_standard_library(
    gator: Gator,
    tmp_path: Path,
    journal: list[Any],
    caplog: pytest.LogCaptureFixture,
    name: str,
    place: str,
) -> None:
    traces = tmp_path / "traces"
    data: dict[str, Any] = {"args": [f"touch {traces}"]}
    if place == "func":
        data["func"] = name
    else:
        data |= {"func": "tests.unit.functions:echo", "options": {place: name}}
    task_id = forge(gator, data)
    burst(gator)
    assert not traces.exists()
    assert journal == []
    record = found(gator, task_id)
    assert (record.status, record.attempts) == (FAILED, 0)
    assert record.error is not None
    assert f"{name!r} belongs to the standard library" in record.error
    [event] = [record for record in caplog.records if "security" in record.getMessage()]
    assert event.levelno == logging.ERROR


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that a module called ``canary`` writes as soon as it is imported."""
    sang = tmp_path / "sang"
    (tmp_path / "canary.py").write_text(
        f"open({str(sang)!r}, 'w').close()\ndef sing():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield sang
    sys.modules.pop("canary", None)


def test_a_module_that_is_not_allowed_is_not_even_imported(conn_string: str, canary: Path) -> None:
    with closing(Gator(conn_string, allow=["tests.*"])) as gator:
        task_id = forge(gator, {"func": "canary:sing"})
        hook_id = forge(
            gator, {"func": "tests.unit.functions:echo", "options": {"on_start": "canary:sing"}}
        )
        burst(gator)
        assert not canary.exists()
        for refused in (task_id, hook_id):
            with pytest.raises(TaskFailedError, match="matches none of allow=") as caught:
                gator.result(refused, timeout=0)
            assert caught.value.kind == "ForbiddenCallableError"


def test_the_canary_sings_when_it_is_allowed(conn_string: str, canary: Path) -> None:
    with closing(Gator(conn_string, allow=["canary"])) as gator:
        task_id = forge(gator, {"func": "canary:sing"})
        burst(gator)
        assert canary.exists()
        assert found(gator, task_id).status == SUCCESS


@pytest.mark.parametrize(
    "name",
    [
        "tests.unit.functions:Greeter",
        "tests.unit.functions:Greeter.greet",
        "tests.unit.functions:_private",
        "tests.unit.functions:journal.clear",
        "tests.unit.functions:sys",
        "tests.unit.functions:wraps",
        "tests.unit.functions:__import__",
        "..functions:echo",
        "tests.unit.functions",
        ":echo",
        "",
    ],
)
def test_forged_names_that_are_no_public_functions(gator: Gator, name: str) -> None:
    task_id = forge(gator, {"func": name})
    burst(gator)
    with pytest.raises(TaskFailedError) as caught:
        gator.result(task_id, timeout=0)
    assert caught.value.kind == "ForbiddenCallableError"


@pytest.mark.parametrize(
    "payload", ["", "no json", "[]", "null", '"text"', "{}", '{"task_id": "x"}', "[" * 100_000]
)
def test_rows_that_make_no_sense_fail_alone(gator: Gator, journal: list[Any], payload: str) -> None:
    task_id = forge(gator, payload)
    gator.task(echo, "next")
    burst(gator)
    record = found(gator, task_id)
    assert (record.status, record.attempts) == (FAILED, 0)
    assert journal == ["next"]
