"""Functions and their names, and the policy."""

import json
import sys
from pathlib import Path

import pytest

from alligator_sql import (
    ForbiddenCallableError,
    UnknownCallableError,
    UnknownModuleError,
)
from alligator_sql.callables import Policy, check_call, name_of, resolve, shown

from . import functions


def test_a_function_and_its_name() -> None:
    assert name_of(functions.add) == "tests.unit.functions:add"
    assert resolve("tests.unit.functions:add") is functions.add


def test_a_decorated_function_is_found_with_its_decoration() -> None:
    name = name_of(functions.decorated)
    assert name == "tests.unit.functions:decorated"
    assert resolve(name) is functions.decorated


def test_a_function_that_is_hidden_by_another_of_its_name() -> None:
    undecorated = functions.decorated.__wrapped__  # type: ignore[attr-defined]
    with pytest.raises(UnknownCallableError, match="would run something else"):
        name_of(undecorated)


def test_an_async_function() -> None:
    assert resolve(name_of(functions.add_later)) is functions.add_later


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(UnknownModuleError, match=r"'nowhere\.at\.all'.*ModuleNotFoundError"):
        resolve("nowhere.at.all:work")


def test_a_module_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaking.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownModuleError, match="ZeroDivisionError: division by zero"):
        resolve("breaking:work")


def test_a_function_that_is_not_there() -> None:
    with pytest.raises(UnknownCallableError, match=r"'tests\.unit\.functions' has no 'subtract'"):
        resolve("tests.unit.functions:subtract")


def test_a_module_that_comes_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is not remembered: a deployment may bring the module."""
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownModuleError):
        resolve("arriving:work")
    (tmp_path / "arriving.py").write_text("def work():\n    return 'here'\n")
    sys.path_importer_cache.clear()
    assert resolve("arriving:work")() == "here"
    del sys.modules["arriving"]


@pytest.mark.parametrize("name", ["tests.unit.functions:wraps", "tests.unit.functions:Task"])
def test_what_a_module_only_imports_is_not_its_function(name: str) -> None:
    with pytest.raises(ForbiddenCallableError, match="not a function of that module"):
        resolve(name)


# The policy


@pytest.mark.parametrize(
    "name", ["myapp:work", "myapp.tasks:send", "other:f", "osprey:nest", "tests.unit:f"]
)
def test_by_default_every_public_function_may_be_a_task(name: str) -> None:
    Policy().check(name)


@pytest.mark.parametrize("module", ["os", "os.path", "subprocess", "json", "builtins", "posix"])
def test_by_default_the_standard_library_may_not(module: str) -> None:
    with pytest.raises(ForbiddenCallableError):
        Policy().check(f"{module}:work")


@pytest.mark.parametrize(
    ("allow", "name", "allowed"),
    [
        (["myapp.tasks"], "myapp.tasks:send", True),
        (["myapp.tasks"], "myapp.tasks.mail:send", False),
        (["myapp.tasks"], "myapp.tasks2:send", False),
        (["myapp.*"], "myapp.tasks:send", True),
        (["myapp.*"], "myapp.tasks.mail:send", True),
        (["myapp.*"], "myapp2.tasks:send", False),
        (["myapp.*"], "other:send", False),
        (["myapp.tasks:send"], "myapp.tasks:send", True),
        (["myapp.tasks:send"], "myapp.tasks:receive", False),
        (["a", "b"], "b:f", True),
        (["MyApp"], "myapp:f", False),
        (["*"], "anything:f", True),
        (["*"], "os:system", False),
        (["o*"], "os:system", False),
        (["json"], "json:dumps", True),
        (["json"], "os:system", False),
        (["json:dumps"], "json:dumps", True),
        (["json:dumps"], "json:loads", False),
        (["*"], "myapp:_private", False),
        (["*"], "myapp._private:f", False),
        (["*"], "myapp:Class.method", False),
    ],
)
def test_patterns(allow: list[str], name: str, allowed: bool) -> None:
    policy = Policy(allow)
    if allowed:
        policy.check(name)
    else:
        with pytest.raises(ForbiddenCallableError):
            policy.check(name)


def test_one_pattern_may_be_a_text() -> None:
    assert Policy("myapp.*").allow == ("myapp.*",)


def test_a_refusal_says_how_to_allow() -> None:
    with pytest.raises(
        ForbiddenCallableError,
        match=r"none of allow=\['myapp'\]\. Add 'other' to allow= .* or pass --allow other",
    ):
        Policy(["myapp"]).check("other:f")


def test_a_policy_holds_inside_its_block_only() -> None:
    name = name_of(functions.add)
    with (
        Policy(["json"]).active(),
        pytest.raises(ForbiddenCallableError, match="matches none of allow"),
    ):
        resolve(name)
    assert resolve(name) is functions.add
    with Policy(["json"]).active():
        assert resolve("json:dumps") is json.dumps
    with pytest.raises(ForbiddenCallableError, match="standard library"):
        resolve("json:dumps")


# Signatures


def test_a_call_that_fits() -> None:
    check_call(functions.add, (1,), {"b": 2})


class Opaque:
    """As many builtins: its signature cannot be read."""

    __signature__ = "unknown"

    def __call__(self, *args: object) -> None:
        pass


def test_without_a_readable_signature_nothing_is_checked() -> None:
    check_call(Opaque(), (1, 2, 3), {"x": 4})


def test_shown_names_anything() -> None:
    assert shown(functions.add) == "tests.unit.functions:add"
    assert "Callable_" in shown(functions.Callable_())
