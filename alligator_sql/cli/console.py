"""What commands write, and how they fail: in one line, without a traceback or a password."""

from functools import cache
from typing import TYPE_CHECKING

from ..exceptions import AlligatorException
from ..redaction import hide_password

if TYPE_CHECKING:
    import typer
    from rich.console import Console


@cache
def errors() -> "Console":
    """Return the console that writes to standard error."""
    from rich.console import Console  # a worker that runs never needs it

    return Console(stderr=True)


def run(app: "typer.Typer") -> None:
    """Run a program; what alligator-sql raises becomes one line and exit code 1."""
    try:
        app()
    except AlligatorException as error:
        fail(str(error))


def fail(message: str) -> None:
    """Say in one line what went wrong, and exit with code 1."""
    errors().print(
        f"Error: {one_line(message)}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    raise SystemExit(1)


def one_line(text: str) -> str:
    """Return ``text`` in one line, with passwords masked."""
    return hide_password(" ".join(text.split()))
