"""``alligator-sql queue``, as somebody types it."""

import subprocess
from collections.abc import Iterator

import pytest

from alligator_sql import Gator

from . import tasks
from .commands import run


@pytest.fixture(params=["sqlite", "postgres18"])
def gator(request) -> Iterator[Gator]:
    """A gator for the queue ``mail``, in a database of each kind."""
    gator = Gator(request.getfixturevalue(f"{request.param}_dsn"), "mail")
    yield gator
    gator.close()


def outcome(result: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return result.returncode, result.stdout, result.stderr


def test_a_queue_is_paused_and_resumed(gator):
    where = (gator.conn_string, "-q", "mail")
    gator.task(tasks.add, 1, 2)
    assert outcome(run("queue", "status", *where)) == (0, "mail: 1 waiting\n", "")
    for _ in range(2):
        assert outcome(run("queue", "pause", *where)) == (0, "mail is paused\n", "")
    assert outcome(run("queue", "status", *where)) == (0, "mail: 1 waiting, paused\n", "")
    burst = run("worker", "--burst", *where)
    assert burst.returncode == 0
    assert gator.len() == 1
    assert outcome(run("queue", "resume", *where)) == (0, "mail goes on\n", "")
    assert gator.pop() == 3


def test_a_failed_task_is_tried_again(gator):
    task = gator.task(tasks.fail)
    where = (gator.conn_string, task.task_id, "--queue", "mail")
    refused = run("queue", "retry", *where)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Error: The task {task.task_id} stays as it is")
    with pytest.raises(ValueError, match="no luck"):
        gator.pop()
    assert outcome(run("queue", "retry", *where)) == (0, f"{task.task_id} waits again\n", "")
    assert gator.len() == 1


def test_everything_but_the_task_may_come_from_the_environment(sqlite_dsn):
    variables = {"ALLIGATOR_CONN": sqlite_dsn, "ALLIGATOR_QUEUE": "mail"}
    assert run("queue", "pause", variables=variables).stdout == "mail is paused\n"
    gator = Gator(sqlite_dsn)
    assert not gator.is_paused()
    gator.close()


def test_an_installation_is_named_by_prefix_and_schema(postgres18_dsn):
    options = ("--prefix", "jobs_", "--schema", "queue")
    assert "jobs_" in run("queue", "pause", postgres18_dsn, *options).stderr  # no such tables
    assert run("schema", "upgrade", postgres18_dsn, *options).returncode == 0
    assert run("queue", "pause", postgres18_dsn, *options).stdout == "all is paused\n"
    assert "paused" in run("queue", "status", postgres18_dsn, *options).stdout
    assert "paused" not in run("queue", "status", postgres18_dsn).stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("pause", "postgresql://user:secret@localhost:1/app"), "does not answer"),
        (("resume", "mysql://user:secret@localhost/app"), "mysql"),
        (("status", "locmem://", "-q", ""), "queue"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(arguments, reason):
    result = run("queue", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert reason in line
    assert "secret" not in line
