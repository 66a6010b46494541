"""Functions that the unit tests enqueue, and hooks. What they do is seen in the journal."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from alligator_sql import Task, coroutines

journal: list[Any] = []


def echo(value: Any = None) -> Any:
    journal.append(value)
    return value


def add(a: int, b: int = 0) -> int:
    return a + b


def say(word: str) -> None:
    logging.getLogger(__name__).warning("%s", word)


def fail(message: str = "no") -> None:
    raise ValueError(message)


def process_id() -> int:
    return os.getpid()


def leave() -> None:
    sys.exit(3)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def complex_number() -> complex:
    return 1 + 2j


def odd_mapping() -> dict[str, int]:
    class Odd(dict[str, int]):
        def items(self) -> Any:
            raise KeyError("nothing of what dict does")

    return Odd(a=1)


def huge_result(size: int) -> str:
    return "x" * size


async def add_later(a: int, b: int) -> int:
    return a + b


def clumsy_hook(task: Task, value: Any) -> None:
    raise ZeroDivisionError("the hook broke")


def nonsense_retries(task: Task, error: BaseException) -> None:
    task.retries = "many"  # type: ignore[assignment]


def nonsense_backoff(task: Task, error: BaseException) -> None:
    task.backoff = -1


def unstorable_arguments(task: Task, error: BaseException) -> None:
    task.func_args = (object(),)


def traced(func: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        journal.append(f"trace {func.__name__}")
        return func(*args, **kwargs)

    return wrapper


@traced
def decorated(value: Any) -> Any:
    return value


def _private() -> None:
    pass


class Greeter:
    def greet(self) -> str:
        return "hello"

    @staticmethod
    def wave() -> str:
        return "o/"


class Callable_:  # noqa: N801
    """Callable, comparable, and therefore without a hash."""

    def __call__(self) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


def fail_without_words() -> None:
    raise UnprintableError


async def exit_later(code: int) -> None:
    await asyncio.sleep(0)
    raise SystemExit(code)


def exit_after_success(task: Any, result: Any) -> None:
    raise SystemExit("a hook that has had enough")


async def start_another() -> None:
    coroutines.run(add_later(1, 2))
