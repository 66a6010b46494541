"""Functions and their names, and the policy that decides which may be tasks.

A stored task names its function as ``"package.module:function"``. Whoever can write to
the store can write such a name, so it is checked against a policy *before* anything is
imported: importing already runs code. Hooks go the same way.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from fnmatch import fnmatchcase
from functools import lru_cache
from types import FunctionType
from typing import Any

from .bindings import Binding
from .exceptions import (
    ForbiddenCallableError,
    SignatureError,
    UnknownCallableError,
    UnknownModuleError,
)

AnyCallable = Callable[..., Any]


class Policy:
    """Which functions may be named by a stored task.

    Without ``allow`` every public module-level function is, except those of the standard
    library. With ``allow`` only what matches one of its patterns: ``"myapp.tasks"`` (a
    module), ``"myapp.*"`` (it and all below it) or ``"myapp.tasks:send"`` (one function). A module
    of the standard library needs a pattern that names it, ``"*"`` does not cover it.

    Names with dots or a leading underscore are never allowed.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        if isinstance(allow, str):
            allow = [allow]
        self.allow = tuple(allow)

    def check(self, name: str) -> tuple[str, str]:
        """Return module and function of ``name``, without importing anything.

        Raises:
            ForbiddenCallableError: The policy refuses this name; the message says how to allow it.
        """
        module, _, function = name.partition(":")
        parts = module.split(".")
        if not function.isidentifier() or not all(part.isidentifier() for part in parts):
            raise ForbiddenCallableError(
                f"{name!r} is not the name of a module-level function: "
                "tasks and hooks are named 'package.module:function'."
            )
        if function.startswith("_") or any(part.startswith("_") for part in parts):
            raise ForbiddenCallableError(
                f"{name!r} is private: names that start with an underscore cannot be tasks or "
                "hooks. Give the function a public name in a public module."
            )
        if self.allow and not self._matches(module, name):
            raise ForbiddenCallableError(
                f"{name!r} is not allowed here: it matches none of allow={list(self.allow)!r}. "
                f"Add {module!r} to allow= of the Gator, or pass --allow {module} to the worker."
            )
        if not self.allow and parts[0] in sys.stdlib_module_names:
            raise ForbiddenCallableError(
                f"{name!r} belongs to the standard library, which stored tasks may not call. Wrap "
                f"it in a function of your own, or allow it by name: allow=[{module!r}]."
            )
        return module, function

    def _matches(self, module: str, name: str) -> bool:
        package = module.partition(".")[0]
        for pattern in self.allow:
            if package in sys.stdlib_module_names and not pattern.startswith(package):
                continue
            # With the dot "myapp.*" matches the module "myapp" itself too.
            if any(fnmatchcase(text, pattern) for text in (module, f"{module}.", name)):
                return True
        return False

    def active(self) -> Binding["Policy"]:
        """Make this the policy of :func:`name_of` and :func:`resolve` inside the block."""
        return Binding(_policy, self)


DEFAULT_POLICY = Policy()
_policy: ContextVar[Policy] = ContextVar("alligator_sql_policy", default=DEFAULT_POLICY)


def name_of(func: AnyCallable) -> str:
    """Return the name under which a worker will find ``func``.

    Raises:
        UnknownCallableError: A worker could not find it: a lambda, a nested function, a
            method, an instance, something from ``__main__``; the message says what to do.
        ForbiddenCallableError: The policy in effect refuses it.
    """
    try:
        return _name_of(func, _policy.get())
    except TypeError as error:  # what cannot be hashed is no function either
        raise _no_function(func) from error


@lru_cache(maxsize=4096)
def _name_of(func: AnyCallable, policy: Policy) -> str:
    module = getattr(func, "__module__", None)
    qualname = getattr(func, "__qualname__", None)
    if module is None or qualname is None or isinstance(func, type):
        raise _no_function(func)
    if module == "__main__":
        raise UnknownCallableError(
            f"{qualname!r} lives in __main__, which is another module in the worker. Move it to a "
            "module that the worker can import, for example tasks.py, and import it from there."
        )
    if inspect.ismethod(func):
        raise UnknownCallableError(
            f"{qualname!r} is a method, and its object cannot be stored. Enqueue a module-level "
            "function that takes the object's primary key and calls the method."
        )
    if "<lambda>" in qualname:
        raise UnknownCallableError(
            "A lambda has no name that a worker could import. Use a module-level function, or "
            "options(is_async=False) to run it at once."
        )
    if "<locals>" in qualname:
        raise UnknownCallableError(
            f"{qualname!r} is nested in a function, so a worker cannot import it. Move it to the "
            "top of its module, or use options(is_async=False) to run it at once."
        )
    name = f"{module}:{qualname}"
    policy.check(name)
    if getattr(sys.modules.get(module), qualname, None) is not func:
        raise UnknownCallableError(
            f"{name!r} is not what its module holds under that name, so a worker would run "
            "something else. Enqueue the object that is importable by that name."
        )
    return name


def _no_function(func: Any) -> UnknownCallableError:
    return UnknownCallableError(
        f"{func!r} is not a plain function. A worker finds tasks by module and name, so "
        "enqueue a module-level function that does the call."
    )


def resolve(name: str) -> AnyCallable:
    """Import the function called ``name``, after the policy in effect has allowed it.

    Raises:
        ForbiddenCallableError: Refused, before the import or because the object found there
            is not a function of that module.
        UnknownModuleError: Its module cannot be imported here.
        UnknownCallableError: Its module has no such name.
    """
    return _resolve(name, _policy.get())


@lru_cache(maxsize=4096)
def _resolve(name: str, policy: Policy) -> AnyCallable:
    module_name, function_name = policy.check(name)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may do anything while it is imported
        raise UnknownModuleError(
            f"Cannot import {module_name!r} for the task {name!r}: {type(error).__name__}: {error}"
        ) from error
    func = getattr(module, function_name, None)
    if func is None:
        raise UnknownCallableError(f"The module {module_name!r} has no {function_name!r}.")
    origin = (getattr(func, "__module__", None), getattr(func, "__qualname__", None))
    if not callable(func) or isinstance(func, type) or origin != (module_name, function_name):
        raise ForbiddenCallableError(
            f"{name!r} is not a function of that module but {func!r}. "
            "Name functions by the module that defines them."
        )
    return func  # type: ignore[no-any-return]


def check_call(func: AnyCallable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check that ``func(*args, **kwargs)`` fits the function's signature.

    Raises:
        SignatureError: It does not; the message has the call and the signature.
    """
    # A closure is used once, and a cache would keep alive all that it holds.
    keeps_nothing = isinstance(func, FunctionType) and func.__closure__ is None
    problem = (_cached_problem if keeps_nothing else _problem)(func, len(args), *kwargs)
    if problem is not None:
        raise SignatureError(problem)


def _problem(func: AnyCallable, positional: int, *keywords: str) -> str | None:
    """Return why ``func`` cannot be called with so many arguments, and with these by name."""
    signature = _signature(func)
    if signature is None:
        return None
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError as error:
        name = getattr(func, "__qualname__", repr(func))
        return f"{name}{signature} cannot be called this way: {error}."
    return None


def shown(func: AnyCallable) -> str:
    """Return a readable name of ``func`` for logs, whatever it is."""
    return f"{getattr(func, '__module__', '?')}:{getattr(func, '__qualname__', repr(func))}"


def _signature(func: AnyCallable) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):  # builtins without a readable signature
        return None


_cached_problem = lru_cache(maxsize=4096)(_problem)
