"""The functions that the measured tasks call."""

import time
from pathlib import Path
from typing import Any


def deliver(message: dict[str, Any]) -> None:
    """Do nothing: what is measured is everything around it."""


def note_start(path: str, number: int) -> None:
    """Append the time at which task ``number`` started to the file ``path``."""
    started = time.time()
    with Path(path).open("a") as file:
        file.write(f"{number} {started!r}\n")


def message(number: int, body: str = "hello") -> dict[str, Any]:
    """Return the argument of one ``deliver`` task."""
    return {"i": number, "to": "someone@example.com", "subject": body}
