"""``python -m tests.chaos``: let chaos reign, and print what came of it."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .run import run
from .stores import STORES
from .storm import PAUSE


def main() -> int:
    """Run, and return the exit code: 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--store", choices=STORES, default="postgresql")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=random.randrange(1000000))
    parser.add_argument("--producers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of each fault")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, a fault every {PAUSE:g} s, {arguments.store}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    report = run(
        arguments.store,
        folder,
        seconds=arguments.seconds,
        seed=arguments.seed,
        producers=arguments.producers,
        workers=arguments.workers,
        told=lambda line: print(line, flush=True) if arguments.verbose else None,
    )
    print(report)
    if not report.violations:
        return 0
    print(f"The journal and the logs are in {folder}.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
