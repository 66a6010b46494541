"""Storing one task: statements that name only what the task has.

Arrays, or JSON on SQLite, would cost a single task as much as all the rest, and each value that
is always the same costs the driver and the planner a microsecond or two.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from ...constants import DELAYED, WAITING
from ...messages import Message
from .dialects import Parameters, tags_text
from .payloads import pack
from .tables import Names

_OPTIONS = {
    "delay": ("run_at", "now() + make_interval(secs => cast(:delay as float8))"),
    "run_at": ("run_at", "greatest(now(), to_timestamp(cast(:run_at as float8)))"),
    "expires_in": ("expires_at", "now() + make_interval(secs => cast(:expires_in as float8))"),
    "expires_at": ("expires_at", "to_timestamp(cast(:expires_at as float8))"),
    "tags": ("tags", "cast(:tags as text)"),
}
"""The column of each option, and its value."""


def suits(messages: Sequence[Message]) -> bool:
    """Whether ``messages`` are a single task that no unique key can exclude."""
    return len(messages) == 1 and messages[0].unique_key is None


def options_of(message: Message) -> Parameters:
    """Return what ``message`` has besides what all tasks have."""
    options: Parameters = {}
    if message.due.seconds:
        options["run_at" if message.due.absolute else "delay"] = message.due.seconds
    if message.expires is not None:
        absolute = message.expires.absolute
        options["expires_at" if absolute else "expires_in"] = message.expires.seconds
    if message.tags:
        options["tags"] = tags_text(message)
    return options


def status_with(options: Collection[str]) -> int:
    """Return the status in which a task with ``options`` is stored."""
    return DELAYED if "delay" in options or "run_at" in options else WAITING


def values_of(message: Message, key: Any, options: Parameters) -> Parameters:
    """Return what is stored of ``message``; ``key`` is its id as the driver takes it."""
    return {
        "id": key,
        "payload": pack(message.payload, message.id, message.func),
        "queue": message.queue,
        "priority": message.priority,
        "func": message.func,
        **options,
    }


def statement(names: Names, message: Message, channel: str | None) -> tuple[str, Parameters]:
    """Return what stores ``message`` on PostgreSQL, if it :func:`suits`, and wakes ``channel``."""
    options = options_of(message)
    sql = insert(names, tuple(options), channel is not None)
    values = values_of(message, message.id, options)
    if channel is not None:
        values["channel"] = channel
    return sql, values


@cache
def insert(names: Names, options: tuple[str, ...], notifies: bool) -> str:
    """Return the statement for a task that has ``options``; with ``notifies`` it wakes workers."""
    # The payload goes first: where no unique key matters, its primary key decides alone
    # whether the id is known, live or ended.
    values = {
        "id": "id",
        "queue": "cast(:queue as text)",
        "priority": "cast(:priority as smallint)",
        "run_at": "now()",
        "created_at": "now()",
        "status": str(status_with(options)),
        "func": "cast(:func as text)",
        **dict(_OPTIONS[option] for option in options),
    }
    tells = ", cast(pg_notify(:channel, '') as text)" if notifies else ""
    return f"""
        with kept as (
            insert into {names.table("payloads")} (id, payload)
            values (cast(:id as uuid), :payload)
            on conflict do nothing
            returning id
        )
        insert into {names.table("tasks")} ({", ".join(values)})
        select {", ".join(values.values())}
          from kept
        on conflict do nothing
        returning id{tells}
    """
