"""Telling workers of new tasks once the Session that has stored them is committed.

PostgreSQL commits transactions that notify one after the other, each until it is on the disk. A
notification that follows the commit, in a transaction of its own on the same connection, holds up
nobody, and cannot make the application's commit fail.
"""

import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import Connection, Engine, event

from .dialects import Execute
from .driver import is_psycopg, on_idle_driver
from .joining import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, SessionTransaction

_INFO: Final = object()
"""Where a Session keeps its :class:`_News`."""


class Announcer(Protocol):
    """Tells the workers of a queue of new tasks; must not raise."""

    def announce_new(self, queue: str, execute: Execute) -> None:
        """Tell those of ``queue`` by a statement on a connection that commits each."""


@dataclass(slots=True)
class _News:
    """What is to be told when the transaction on ``connection`` is committed."""

    connection: Connection
    queues: set[tuple[Announcer, str]] = field(default_factory=set)


def announce_later(joined: Any, announcer: Announcer, queue: str) -> bool:
    """Have ``announcer`` tell of ``queue`` after the commit of ``joined``; return whether it will.

    It will not for what is no Session, or has a connection that may serve for nothing else, or
    belongs to a transaction around the Session's.
    """
    if kind_of(joined) is not Kind.SESSION:
        return False
    news = joined.info.get(_INFO)
    if news is None:
        connection = joined.connection()
        if not _is_the_sessions(connection, joined):
            return False
        follow()
        news = joined.info[_INFO] = _News(connection)
    news.queues.add((announcer, queue))
    return True


def _is_the_sessions(connection: Connection, session: "Session") -> bool:
    driver: Any = connection.connection.driver_connection
    return is_psycopg(driver) and not driver.autocommit and isinstance(session.get_bind(), Engine)


def follow() -> None:
    """Be told of commits. The sooner the better: a Session may be committing in another thread."""
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is not None:
        _follow(orm.Session)


@cache
def _follow(session_class: type["Session"]) -> None:
    event.listen(session_class, "after_commit", _announce)
    event.listen(session_class, "after_transaction_end", _forget)


def _announce(session: "Session") -> None:
    if _INFO not in session.info or session.in_nested_transaction():
        return
    news: _News = session.info.pop(_INFO)
    if news.connection.invalidated or news.connection.closed:
        return
    execute = on_idle_driver(news.connection)
    for announcer, queue in news.queues:
        announcer.announce_new(queue, execute)
        if news.connection.invalidated:
            return


def _forget(session: "Session", transaction: "SessionTransaction") -> None:
    """Forget what was rolled back, or closed without a commit."""
    if transaction.parent is None:
        session.info.pop(_INFO, None)
