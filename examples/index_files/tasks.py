"""What the workers run: plain functions."""

import os
import threading
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, and_, select, update
from sqlalchemy.orm import Session

from .files import examine
from .models import HANGS, Document, connect

DOCUMENTS_VARIABLE: Final = "DEMO_DOCUMENTS"
"""The environment variable that says to the workers where the documents are."""
LONGEST_HANG: Final = 30.0
"""Seconds; by then the worker was killed long ago, unless the demo was interrupted."""


class FirstAttemptError(Exception):
    """Raised on purpose, to show that the task is tried again."""


def index_file(document_id: int, path: str) -> None:
    """Write size, SHA-256 and number of lines of a file to its row.

    Running it twice does no harm, as it should be with every task.
    """
    _meet_trouble(document_id)
    facts = examine(Path(path))
    with Session(engine()) as session, session.begin():
        session.execute(
            update(Document)
            .where(Document.id == document_id)
            .values(
                size=facts.size,
                sha256=facts.sha256,
                line_count=facts.line_count,
                indexed_at=datetime.now(UTC),
                indexed_by=os.getpid(),
            )
        )


@cache
def engine() -> Engine:
    """Return the engine of this worker process, made by the first task that needs it."""
    return connect(os.environ[DOCUMENTS_VARIABLE])


def _meet_trouble(document_id: int) -> None:
    """Let go wrong what is to go wrong in the first attempt."""
    with Session(engine()) as session, session.begin():
        is_new = and_(Document.id == document_id, Document.trouble_met_by.is_(None))
        trouble = session.scalar(select(Document.trouble).where(is_new))
        if trouble is None:
            return
        session.execute(update(Document).where(is_new).values(trouble_met_by=os.getpid()))
    if trouble == HANGS:
        threading.Event().wait(LONGEST_HANG)
    else:
        raise FirstAttemptError(f"Document {document_id} fails at the first attempt.")
