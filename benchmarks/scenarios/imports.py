"""How long it takes to import the package, and what comes along."""

import subprocess
import sys
from functools import partial

from ..processes import CHECKOUT
from ..run import Run
from ..stats import Measurement, Samples, interleave

HEAVY = ("alembic", "boto3", "click", "psycopg", "redis", "rich")
"""What producers should not have to load before they need it."""
RAW = "sqlalchemy"
PROGRAM = """
import sys, time
started = time.perf_counter()
import {}
print(time.perf_counter() - started, *sorted(set(sys.modules) & {!r}))
"""


def measure(run: Run) -> list[Measurement]:
    """Compare ``import alligator_sql`` with importing SQLAlchemy, each in a fresh process."""
    contenders = ("alligator_sql", "alligator_sql.backends.sql", RAW)
    found = interleave(
        1 if run.quick else 15,
        {module: partial(_imported, module) for module in contenders},
        warm_up=not run.quick,
    )
    seconds: Samples = {module: [one[0] for one in ones] for module, ones in found.items()}
    loaded: Samples = {
        f"{module}: {', '.join(ones[0][1]) or 'none'}": [float(len(ones[0][1]))]
        for module, ones in found.items()
    }
    return [
        Measurement("time", "ms", seconds, RAW),
        Measurement("heavy modules", "modules", loaded),
    ]


def _imported(module: str) -> tuple[float, list[str]]:
    """Return milliseconds, and which heavy modules were loaded."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module, set(HEAVY))],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    return float(output[0]) * 1e3, output[1:]
