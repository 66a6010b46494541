"""Running the installed commands."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULE = (sys.executable, "-m", "alligator_sql.cli")


def installed(name: str) -> tuple[str]:
    """Return the command that the package has installed beside the interpreter."""
    return (str(Path(sys.executable).with_name(name)),)


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process without our variables, and with these."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("ALLIGATOR_")
    }
    # A narrow terminal would fold the words that tests look for.
    return inherited | {"COLUMNS": "200"} | variables


def run(
    *arguments: str,
    program: tuple[str, ...] | None = None,
    variables: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run ``alligator-sql`` with these arguments to its end."""
    return subprocess.run(
        [*(program or installed("alligator-sql")), *arguments],
        env=environment(**variables or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
