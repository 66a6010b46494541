"""Tasks that write an order, and complete themselves in the transaction that writes it."""

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from alligator_sql import current_task

from . import callers
from .tasks import append

meanwhile: list[Callable[[], object]] = []
"""What a test of the same process does before the completion."""
errors: list[BaseException] = []
"""What tasks of the same process have raised."""


def order(kind: str, dsn: str, name: str, *, commit: bool = True, fail: bool = False) -> str:
    """Write an order on a connection of ``kind``, complete, and end the transaction."""
    caller = getattr(callers, kind)(dsn)
    acts = meanwhile.copy()
    try:
        while dsn.startswith("sqlite") and acts:  # the order will lock everybody out
            acts.pop()()
        caller.start()
        _write(caller, name)
        while acts:
            acts.pop()()
        caller.complete(f"{name} is on its way")
        caller.commit() if commit else caller.rollback()
    except BaseException as error:
        errors.append(error)
        caller.rollback()
        raise
    finally:
        caller.close()
    if fail:
        raise ValueError("no luck")
    return f"{name} was sent"


def order_and_wait(
    kind: str, dsn: str, name: str, when: str, started: str, until: str, seconds: float = 30.0
) -> None:
    """Do the same; wait ``"before"`` or ``"after"`` the commit until the file ``until`` exists."""
    caller = getattr(callers, kind)(dsn)
    caller.start()
    _write(caller, name)
    caller.complete()
    if when == "after":
        caller.commit()
    append(started, name)
    deadline = time.monotonic() + seconds
    while not Path(until).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    caller.commit()
    caller.close()


async def order_in_a_coroutine(dsn: str, name: str) -> None:
    """Write an order in a session of this event loop."""
    url = make_url(dsn)
    driver = {"postgresql": "psycopg", "sqlite": "aiosqlite"}[url.get_backend_name()]
    engine = create_async_engine(url.set(drivername=f"{url.get_backend_name()}+{driver}"))
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text(f"insert into orders (name) values ('{name}')"))
        await current_task().acomplete(session)
    await engine.dispose()


def order_alone(dsn: str) -> None:
    """Complete on a connection that has no transaction."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        current_task().complete(connection)


def _write(caller: callers.Caller, name: str) -> None:
    caller.execute(f"insert into orders (name) values ('{name}')")
