"""Which files are indexed, and what there is to know about one."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SKIPPED_FOLDERS: Final = {".git", ".hypothesis", ".nox", ".tox", "__pycache__", "node_modules"}
CODE: Final = {
    ".c", ".cpp", ".css", ".go", ".h", ".html", ".java", ".js", ".php", ".py", ".pyi", ".rb",
    ".rs", ".sh", ".sql", ".ts",
}  # fmt: skip
QUEUES: Final = ("code", "other")
"""Where the tasks go, in the order in which the workers serve them."""
BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What the index says about a file."""

    size: int
    sha256: str
    line_count: int


def find(folder: Path) -> list[Path]:
    """Return the readable files below ``folder``, without caches and the like.

    They come in the order in which the workers serve them.
    """
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_skipped(name)]
        paths = (Path(parent, name) for name in names)
        found += (path for path in paths if path.is_file() and os.access(path, os.R_OK))
    return sorted(found, key=lambda path: (QUEUES.index(queue_of(path)), path))


def queue_of(path: Path) -> str:
    """Return the queue for the task that indexes ``path``."""
    return "code" if path.suffix in CODE else "other"


def examine(path: Path) -> Facts:
    """Read a file, of whatever size, and return the facts about it."""
    size = lines = 0
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size += len(block)
            lines += block.count(b"\n")
            digest.update(block)
    return Facts(size, digest.hexdigest(), lines)


def _is_skipped(folder: str) -> bool:
    return folder in SKIPPED_FOLDERS or folder.startswith(".venv") or folder.endswith("_cache")
