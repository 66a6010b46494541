"""What ``--help`` says of the commands, and what they are called with."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import pytest
from click.testing import CliRunner

from alligator_sql.cli import worker
from alligator_sql.cli.commands import program
from alligator_sql.cli.parameters import Number

NUMBERS = {click.IntRange: int, Number: float}
Path = tuple[str, ...]


def walk(command: click.Command = program, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    """Yield every command and group, and how it is called."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below
            yield from walk(below, (*path, name))


COMMANDS = {" ".join(path): command for path, command in walk()}


def page(name: str, width: int = 80) -> str:
    result = CliRunner().invoke(program, [*name.split(), "--help"], terminal_width=width)
    assert result.exit_code == 0
    return " ".join(result.output.split())


def type_of(parameter: click.Parameter, *, missing: bool) -> Any:
    """Return the type of what a command gets for a parameter."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return bool
    if parameter.multiple:
        return tuple[str, ...]
    kind = NUMBERS.get(type(parameter.type), str)
    return kind | None if missing and not parameter.required else kind


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained(name):
    text = page(name)
    for parameter in COMMANDS[name].params:
        assert isinstance(parameter, click.Option | click.Argument)
        assert parameter.help
        assert parameter.help in text


@pytest.mark.parametrize("name", [name for name in COMMANDS if name])
def test_every_command_is_explained_in_one_sentence(name):
    *groups, _ = name.split()
    sentence = COMMANDS[name].get_short_help_str(1000)
    assert sentence.endswith(".")
    assert sentence in page(" ".join(groups))


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if one.params])
def test_defaults_and_variables_are_shown(name):
    text = page(name)
    for parameter in COMMANDS[name].params:
        if parameter.envvar:
            assert f"[env var: {parameter.envvar}" in text
        # Click has a sentinel for what has no default.
        if isinstance(parameter.default, str | int | float) and parameter.default is not False:
            assert f"default: {parameter.default}" in text


def test_what_is_used_first_comes_first():
    assert list(program.commands) == ["worker", "migrate-from", "schema", "queue"]
    assert " ".join(page("").split("Commands: ")[1:]).startswith("worker ")
    assert " ".join(page("schema").split("Commands: ")[1:]).startswith("upgrade ")


def test_every_option_of_a_worker_has_a_variable():
    dsn, *options = worker.run.params
    assert dsn.envvar == "ALLIGATOR_CONN"
    assert options
    for option in options:
        assert option.name
        assert option.envvar == f"ALLIGATOR_{option.name.upper()}"


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if one.params])
def test_signatures_have_the_types_of_the_parameters(name, monkeypatch):
    """No type checker compares the two."""
    command = COMMANDS[name]
    for parameter in command.params:
        monkeypatch.delenv(str(parameter.envvar), raising=False)
    defaults = command.make_context(name, [], resilient_parsing=True).params
    hints = get_type_hints(command.callback)
    for parameter in command.params:
        if parameter.expose_value:
            assert parameter.name
            hint = hints[parameter.name]
            told = str if get_origin(hint) is Literal else hint
            assert told == type_of(parameter, missing=defaults[parameter.name] is None), parameter
            if told is not hint:
                assert isinstance(parameter.type, click.Choice)
                assert get_args(hint) == tuple(parameter.type.choices)
