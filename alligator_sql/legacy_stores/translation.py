"""Tasks of Alligator 1.0 as messages of ours.

Nothing is imported for it, so it works where the application is not installed, and a hostile
name runs no code. Names are checked against the policy; the worker checks the rest.
"""

import json
import math
from typing import Any

from .. import jsontext, options
from ..backends import Backend
from ..callables import Policy
from ..clock import SYSTEM_CLOCK
from ..exceptions import PayloadError, Unsupported
from ..ids import id_of
from ..messages import NOW, Message, Moment
from ..tasks import Task
from .base import Entry

ORDER_STEP = 1e-6
"""Seconds between the due times of tasks that were due already. A store takes any past moment
for its own now, and would sort them by their ids then. Redis, whose times are coarser, does so
within a hundredth of a second."""

_REQUIRED = {"task_id", "retries", "is_async", "module", "callable"}
_FIELDS = _REQUIRED | {"args", "kwargs", "options"}
_HOOKS = ("on_start", "on_success", "on_error")
_OPTIONS = {*_HOOKS, "delay_until"}


class Translator:
    """Makes messages of stored tasks.

    Args:
        queue: The queue that the messages are for.
        store: The backend that they are for.
        policy: Which functions may be named.
    """

    def __init__(self, queue: str, store: Backend, policy: Policy) -> None:
        self._queue = queue
        self._store = store
        self._policy = policy

    def message_of(self, entry: Entry, place: int) -> Message:
        """Return the task of ``entry``, which is at ``place`` among the tasks of its queue.

        Raises:
            PayloadError: It is not what Alligator 1.0 stores, or too large for the backend.
            InvalidOptionError: Its id, its retries or its due time are impossible.
            ForbiddenCallableError: The policy refuses its function or a hook.
            Unsupported: The backend cannot delay it, or not for so long.
        """
        stored = _parsed(entry)
        old_options = stored.get("options", {})
        func = self._name(stored)
        due = self._due(entry, place, delayed="delay_until" in old_options)
        task = Task(task_id=str(stored["task_id"]), retries=stored["retries"])
        # What follows is what Task.serialize() writes.
        data: dict[str, Any] = {"task_id": task.task_id, "func": func}
        for part in ("args", "kwargs"):
            if stored.get(part):
                data[part] = stored[part]
        if task.retries:
            data["retries"] = task.retries
        new_options: dict[str, Any] = {
            hook: self._name(old_options[hook]) for hook in _HOOKS if old_options.get(hook)
        }
        if due.absolute:
            new_options["delay_until"] = due.seconds
        if new_options:
            data["options"] = new_options
        return Message(
            id=id_of(task.task_id),
            task_id=task.task_id,
            queue=self._queue,
            func=func,
            payload=self._checked(jsontext.dumps(data, "task")),
            due=due,
        )

    def _name(self, stored: dict[str, Any]) -> str:
        name = f"{stored['module']}:{stored['callable']}"
        self._policy.check(name)
        return name

    def _due(self, entry: Entry, place: int, *, delayed: bool) -> Moment:
        able = self._store.capabilities
        due = options.check_moment(entry.due, "due time")
        now = SYSTEM_CLOCK.now()
        # Alligator gave a task without a delay the next full second.
        if due.seconds <= (now if delayed else math.ceil(now)):
            return Moment(place * ORDER_STEP) if able.order and able.delay else NOW
        if not able.delay:
            raise Unsupported(
                f"It is due in {due.seconds - now:.0f} s, and the {self._store.name} backend "
                "cannot delay tasks."
            )
        if able.max_delay is not None and due.seconds - now > able.max_delay:
            raise Unsupported(
                f"It is due in {due.seconds - now:.0f} s, and the {self._store.name} backend "
                f"cannot delay tasks for more than {able.max_delay:g} s."
            )
        return due

    def _checked(self, payload: str) -> str:
        limit = self._store.capabilities.max_payload
        if limit is not None and len(payload) > limit:
            raise PayloadError(
                f"The call takes {len(payload)} bytes, the limit of the {self._store.name} backend "
                f"is {limit}."
            )
        return payload


def _parsed(entry: Entry) -> dict[str, Any]:
    """Return the stored task, of which every field has the right type."""
    if entry.data is None:
        raise PayloadError("Nothing is stored under its id.")
    try:
        stored = json.loads(entry.data)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"It is not JSON: {error}") from error
    if not isinstance(stored, dict) or not stored.keys() >= _REQUIRED:
        raise PayloadError(f"It is no task of Alligator 1.0: those have {_listed(_REQUIRED)}.")
    if not isinstance(stored.get("args", []), list) or not isinstance(
        stored.get("kwargs", {}), dict
    ):
        raise PayloadError("Its arguments are not a list and an object.")
    _check_options(stored.get("options", {}))
    # A task class of the application may have stored more than we would take along.
    if extra := (stored.keys() - _FIELDS) | (stored.get("options", {}).keys() - _OPTIONS):
        raise PayloadError(f"It has what Alligator 1.0 does not store: {_listed(extra)}.")
    if str(stored["task_id"]).encode(errors="replace") != entry.task_id:
        raise PayloadError("Its id is not the one under which it is stored.")
    return stored


def _check_options(stored: Any) -> None:
    if not isinstance(stored, dict):
        raise PayloadError("Its options are not an object.")
    for hook in _HOOKS:
        value = stored.get(hook)
        if value and not (isinstance(value, dict) and value.keys() >= {"module", "callable"}):
            raise PayloadError(f"Its {hook} names no module and callable.")


def _listed(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
