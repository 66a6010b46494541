"""Virtual environments for what is measured beside us, so that it never touches ours."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from ..processes import CHECKOUT

FOLDER = CHECKOUT / ".venv-peers"


def interpreter(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of the environment ``name``, which is made at the first use.

    Raises:
        subprocess.CalledProcessError: The requirements cannot be installed.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    installed = folder / "installed"
    wanted = "\n".join([sys.version, *requirements])
    if not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             *requirements],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        installed.write_text(wanted)
    return python
