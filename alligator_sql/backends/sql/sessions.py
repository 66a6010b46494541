"""Sessions of ours with PostgreSQL, in which nothing may take for ever.

The server ends what takes too long. When it does not answer at all, because it is frozen or
because something between accepts what we send and passes nothing on, we give up ourselves.
"""

import math
import select
import time
from collections.abc import Generator
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

CONNECT_TIMEOUT = 10
"""Seconds to wait for each host to accept a connection."""
STATEMENT_TIMEOUT = 30.0
"""Seconds that a statement may take; ours take milliseconds."""
MARGIN = 5.0
"""Seconds that the answer may be late, once the server should have ended the statement."""
PING_PATIENCE = 5.0
"""Seconds within which a session answers that has done nothing for a while."""
SETTINGS = (
    # A plan that was made while a table was empty must not outlive that, see replanned().
    # Statements stay prepared, so this costs nothing that can be measured.
    ("plan_cache_mode", "auto", "force_custom_plan"),
    ("statement_timeout", "0", f"{STATEMENT_TIMEOUT:g}s"),
    # Locks are held for milliseconds, too, but for those of an application's transaction.
    ("lock_timeout", "0", "10s"),
    # A process that froze in a transaction must not keep the rows from the others.
    ("idle_in_transaction_session_timeout", "0", "30s"),
)
"""Names, the values that mean nobody has set them, and ours."""
_SET = """
    select set_config(name, wanted, false)
    from unnest(%(names)s::text[], %(unset)s::text[], %(wanted)s::text[]) as s (name, unset, wanted)
    where current_setting(name) = unset
"""
_SERVER_PROCESS = "select pg_backend_pid()"
_TIMEOUT = "select extract(epoch from current_setting('statement_timeout')::interval)::float8"
_LEVEL = "set default_transaction_isolation = 'read committed'"
"""Statements that stand alone must not inherit the level of the role: under REPEATABLE READ a claim
fails when somebody else was faster."""
_Value = TypeVar("_Value")


class Session(psycopg.Connection[Any]):
    """A connection that is closed when the server does not answer within ``patience``."""

    patience: float = STATEMENT_TIMEOUT + MARGIN

    def wait(self, gen: Generator[Any, Any, _Value], *args: Any, **options: Any) -> _Value:
        """Wait for the server to answer, as all methods do that talk to it."""
        return super().wait(self._impatient(gen), *args, **options)

    def _impatient(self, steps: Generator[Any, Any, _Value]) -> Generator[Any, Any, _Value]:
        deadline = time.monotonic() + self.patience
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:  # it is asked ten times a second
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {self.patience:g} s")
                wanted = steps.send(ready)
        except StopIteration as end:
            value: _Value = end.value
            return value

    def notifies(self, **options: Any) -> Generator[psycopg.Notify, None, None]:
        """Yield notifications: who waits for these does not wait for an answer."""
        patience, self.patience = self.patience, math.inf
        try:
            yield from super().notifies(**options)
        finally:
            self.patience = patience

    def is_at_rest(self) -> bool:
        """Whether nothing is left of what it was used for."""
        is_idle = self.pgconn.transaction_status == TransactionStatus.IDLE
        return is_idle and not self.pgconn.pipeline_status

    def has_word(self) -> bool:
        """Whether the server has said something unasked: mostly that it has closed the session."""
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))

    def ping(self) -> bool:
        """Return whether the server answers soon."""
        patience, self.patience = self.patience, min(self.patience, PING_PATIENCE)
        try:
            self.execute("select 1")
            self.rollback()
        except psycopg.Error:
            return False
        self.patience = patience
        return True


def prepare(session: Session) -> bool:
    """Set the limits of a new session, and return whether the server has them now.

    What the server, the role or the connection string limits already stays as it is. Behind a
    transaction pooler the server process changes with each transaction: settings would go to
    the sessions of others, so there the role has to have them.
    """
    is_direct = _value(session, _SERVER_PROCESS) == session.info.backend_pid
    if is_direct:
        names, unset, wanted = (list(column) for column in zip(*SETTINGS, strict=True))
        session.execute(_SET, {"names": names, "unset": unset, "wanted": wanted})
        session.execute(_LEVEL)
    else:
        session.prepare_threshold = None  # what one server process has prepared others do not know
    timeout = _value(session, _TIMEOUT)
    session.patience = (timeout or STATEMENT_TIMEOUT) + MARGIN
    return bool(timeout)


def _value(session: Session, statement: LiteralString) -> Any:
    [row] = session.execute(statement).fetchall()
    return row[0]
