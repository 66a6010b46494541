"""What the measured tasks call, and how they are made."""

import time
from pathlib import Path
from typing import Any

from alligator_sql import Gator, Task
from alligator_sql.messages import Message


def deliver(message: dict[str, Any]) -> None:
    """Do nothing: everything around it is what is measured."""


def note_start(path: str, number: int) -> None:
    """Append the time at which task ``number`` started to the file ``path``."""
    started = time.time()
    with Path(path).open("a") as file:
        file.write(f"{number} {started!r}\n")


def mail(number: int, subject: str = "hello") -> dict[str, Any]:
    """Return the argument of one ``deliver`` task."""
    return {"i": number, "to": "someone@example.com", "subject": subject}


def prepared(gator: Gator, number: int, subject: str = "hello") -> list[Message]:
    """Return ``number`` tasks as the gator would store them."""
    messages = []
    for each in range(number):
        task = Task()
        task.to_call(deliver, mail(each, subject))
        messages.append(gator.message_of(task))
    return messages
