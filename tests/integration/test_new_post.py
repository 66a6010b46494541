"""The tutorial's example, with a real mail server and a real worker process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import create_engine, text

from tests.helpers import free_port

ROOT = Path(__file__).parents[2]
WORKER = ("-m", "alligator_sql.cli", "worker", "--concurrency", "1")

POST_AND_BREAK = """
from sqlalchemy.orm import Session
from examples.new_post.app import new_post
from examples.new_post.database import engine

with Session(engine) as session, session.begin():
    new_post(session, 1, "never mind")
    raise SystemExit("the view broke")
"""


class Mailbox:
    """Keeps what a mail server was given."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 OK"


class Machine:
    """Where the commands of the README are run."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.port = free_port()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "ALLIGATOR_CONN": self.dsn,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.port),
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def post(self, message: str) -> None:
        posted = self.run("-m", "examples.new_post", message)
        assert posted.returncode == 0, posted.stderr

    def work(self, *options: str) -> str:
        worked = self.run(*WORKER, *options)
        assert worked.returncode == 0, worked.stderr
        return worked.stderr

    @contextmanager
    def mail_server(self) -> Iterator[Mailbox]:
        mailbox = Mailbox()
        controller = Controller(mailbox, hostname="127.0.0.1", port=self.port)
        controller.start()
        try:
            yield mailbox
        finally:
            controller.stop()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        engine = create_engine(self.dsn)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()


@pytest.fixture(params=["sqlite_dsn", "postgres18_dsn"])
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.getfixturevalue(request.param))


TASKS = "select status, attempts from alligator_all_tasks"


def test_a_post_reaches_its_followers(machine: Machine) -> None:
    machine.post("Hello, followers!")
    assert machine.ask(TASKS) == [("waiting", 0)]
    with machine.mail_server() as mailbox:
        machine.work("--burst")
    [(recipients, mail)] = mailbox.mails
    assert recipients == ["ann@example.com", "bob@example.com"]
    assert mail["Subject"] == "A new post by daniel"
    assert mail["To"] == mail["From"] == "sosocial@example.com"
    assert mail.get_payload() == "Hello, followers!\r\n"
    assert machine.ask(TASKS) == [("success", 1)]


def test_each_post_is_one_mail(machine: Machine) -> None:
    machine.post("first")
    machine.post("second")
    with machine.mail_server() as mailbox:
        machine.work("--burst")
        machine.work("--burst")
    texts = [mail.get_payload() for _, mail in mailbox.mails]
    assert texts == ["first\r\n", "second\r\n"]
    assert len({mail["Message-ID"] for _, mail in mailbox.mails}) == 2


def test_a_mail_server_that_is_away_delays_the_mail(machine: Machine) -> None:
    machine.post("Hello!")
    log = machine.work("--max-tasks", "1")
    assert "retrying in" in log
    assert "ConnectionRefusedError" in log
    assert machine.ask(TASKS) == [("retrying", 1)]
    with machine.mail_server() as mailbox:
        machine.work("--max-tasks", "1")
    assert [mail.get_payload() for _, mail in mailbox.mails] == ["Hello!\r\n"]
    assert machine.ask(TASKS) == [("success", 2)]


def test_a_post_that_is_rolled_back_sends_no_mail(machine: Machine) -> None:
    machine.post("Hello!")
    broken = machine.run("-c", POST_AND_BREAK)
    assert broken.stderr == "the view broke\n"
    assert machine.ask("select message from posts") == [("Hello!",)]
    with machine.mail_server() as mailbox:
        machine.work("--burst")
    assert [mail.get_payload() for _, mail in mailbox.mails] == ["Hello!\r\n"]
