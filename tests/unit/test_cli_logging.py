"""The log of the commands, as people and as programs read it."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from alligator_sql.cli.logging import JSONFormatter

LOG_SOMETHING = """
import logging, sys
from alligator_sql.cli.logging import set_up
set_up(sys.argv[1], sys.argv[2])
log = logging.getLogger("myapp.mail")
log.info("not shown at WARNING")
log.warning("late by %d s", 3, extra={"queue": "mail"})
"""


def line(**fields: object) -> dict[str, object]:
    formatted = JSONFormatter().format(logging.makeLogRecord(fields))
    assert "\n" not in formatted
    return dict(json.loads(formatted))


def logged(level: str, style: str) -> tuple[str, str]:
    result = subprocess.run(
        [sys.executable, "-c", LOG_SOMETHING, level, style],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout, result.stderr


def test_json_has_time_level_logger_and_message():
    found = line(name="myapp", levelname="INFO", msg="%s\ndone", args=("half",))
    time = datetime.fromisoformat(str(found.pop("time")))
    assert time.utcoffset() == timedelta(0)
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60
    assert found == {"level": "INFO", "logger": "myapp", "message": "half\ndone"}


def test_json_has_whatever_extra_brings():
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    found = line(msg="x", task_id="7", moment=moment, nested={"a": [1, None]}, level="mine")
    assert (found["task_id"], found["nested"]) == ("7", {"a": [1, None]})
    assert found["moment"] == str(moment)
    assert found["level"] != "mine"


def test_json_has_the_exception_as_text():
    try:
        raise ValueError("no\nluck")
    except ValueError:
        found = line(msg="x", exc_info=sys.exc_info())
    text = str(found["exception"])
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: no\nluck")


def test_text_goes_to_standard_error_from_its_level_on():
    output, errors = logged("WARNING", "text")
    assert output == ""
    (only,) = errors.splitlines()
    assert only.endswith(" WARNING late by 3 s")
    datetime.strptime(only[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone()


def test_json_goes_to_standard_error_from_its_level_on():
    output, errors = logged("INFO", "json")
    assert output == ""
    first, second = map(json.loads, errors.splitlines())
    assert first["message"] == "not shown at WARNING"
    assert (second["logger"], second["queue"]) == ("myapp.mail", "mail")
