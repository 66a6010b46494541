"""What commands write, and how they fail: in one line, without a traceback or a password."""

import sys
from functools import cache
from typing import TYPE_CHECKING

from ..exceptions import AlligatorException
from ..redaction import hide_password

if TYPE_CHECKING:
    import click
    from rich.console import Console

WIDTH = 100
"""Columns that a page of help takes at most."""
INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""


@cache
def errors() -> "Console":
    """Return the console that writes to standard error."""
    from rich.console import Console  # a worker that runs never needs it

    return Console(stderr=True)


def run(program: "click.Command") -> None:
    """Run a program; what alligator-sql raises becomes one line and exit code 1."""
    import click  # a supervised worker never needs it

    try:
        sys.exit(program.main(standalone_mode=False, max_content_width=WIDTH))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        click.echo("Aborted.", err=True)
        sys.exit(1)
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
