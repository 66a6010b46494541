"""Virtual environments for what is measured beside us, so that it never touches ours."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..processes import CHECKOUT

FOLDER = CHECKOUT / ".venv-peers"
NEWEST_MINOR = 14


class NotInstalledError(Exception):
    """Something cannot be installed here; the message says why."""


def interpreter(name: str, requirements: Sequence[str], oldest: tuple[int, int]) -> Path:
    """Return the Python of the environment ``name``, which is made at the first use.

    Args:
        name: What the folder of the environment is called.
        requirements: What it has, besides pip.
        oldest: The oldest Python that this works with.

    Raises:
        NotInstalledError: There is no such Python, or pip cannot install the requirements.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    installed = folder / "installed"
    base = _python(oldest)
    wanted = "\n".join([sys.version if base == sys.executable else base, *requirements])
    if not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _run(base, "-m", "venv", str(folder))
        _run(
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *requirements,
        )
        installed.write_text(wanted)
    return python


def _run(*command: str) -> None:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        raise NotInstalledError(lines[-1])


def _python(oldest: tuple[int, int]) -> str:
    """Return an interpreter that is at least as new: ours if it is."""
    if sys.version_info >= oldest:
        return sys.executable
    for candidate in _candidates(oldest):
        # Being on the PATH proves nothing: pyenv has a shim there for every version.
        if subprocess.run([candidate, "-c", ""], check=False, capture_output=True).returncode == 0:
            return candidate
    raise NotInstalledError("needs Python {}.{}, which was not found".format(*oldest))


def _candidates(oldest: tuple[int, int]) -> Iterator[str]:
    major, minor = oldest
    for each in range(minor, NEWEST_MINOR + 1):
        name = f"python{major}.{each}"
        if (found := shutil.which(name)) is not None:
            yield found
        versions = Path.home() / ".pyenv" / "versions"
        yield from map(str, sorted(versions.glob(f"{major}.{each}.*/bin/{name}")))
