"""What commands write, and how they fail: in one line, without a traceback or a password."""

import re

import typer
from rich.console import Console

from ..exceptions import AlligatorException

_IN_URL = re.compile(r"(?<=://)([^\s/@:]*):[^\s/]*@")
_IN_SETTINGS = re.compile(r"(?i)(password\s*=\s*)('[^']*'|[^\s&]+)")

errors = Console(stderr=True)


def run(app: typer.Typer) -> None:
    """Run a program; what alligator-sql raises becomes one line and exit code 1."""
    try:
        app()
    except AlligatorException as error:
        fail(str(error))


def fail(message: str) -> None:
    """Say in one line what went wrong, and exit with code 1."""
    errors.print(
        f"Error: {one_line(message)}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    raise SystemExit(1)


def one_line(text: str) -> str:
    """Return ``text`` in one line, with passwords masked."""
    return masked(" ".join(text.split()))


def masked(text: str) -> str:
    """Return ``text`` with ``***`` for the passwords of connection strings."""
    return _IN_SETTINGS.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))
