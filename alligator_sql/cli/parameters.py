"""How options and arguments explain themselves, and those that several commands have."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Argument(click.Argument):
    """An argument with a line of help, which names its variable as that of an option does."""

    def __init__(self, *args: Any, help: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = help  # Click has this from 8.5 on

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return what stands left and right; before 8.5, Click lists it among the options."""
        facts = [f"env var: {self.envvar}"] if self.envvar else []
        return self.make_metavar(ctx), f"{self.help}  [{'; '.join([*facts, 'required'])}]"


class Number(click.FloatRange):
    """A number within bounds. Click lets NaN pass, which is never below or above one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or say what is wrong with it."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def names_in(text: str, option: str) -> list[str]:
    """Return the names in ``text``, which commas separate; ``option`` has got it."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise click.BadParameter(f"an empty name in {text!r}", param_hint=option)
    return names


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """Return an option whose line of help names its default and its variable."""
    return click.option(*names, show_default=True, show_envvar=True, **attributes)


dsn = click.argument(
    "dsn",
    cls=Argument,
    envvar="ALLIGATOR_CONN",
    metavar="DSN",
    help="postgresql://user@host/database, sqlite:///tasks.db, redis://host/0 or sqs://region/. "
    "In a variable a password does not show in the list of processes.",
)
PREFIX_HELP = "What the names of the tables start with."
prefix = option("--prefix", envvar="ALLIGATOR_PREFIX", help=PREFIX_HELP)
schema = option(
    "--schema",
    envvar="ALLIGATOR_SCHEMA",
    help="The PostgreSQL schema of the tables; by default the search path decides.",
)
