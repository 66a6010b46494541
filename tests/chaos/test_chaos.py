"""A short storm on each store. ``make chaos`` makes longer ones."""

import os

import pytest

from .run import run

SECONDS = float(os.environ.get("ALLIGATOR_CHAOS_SECONDS", "20"))
SEED = 1


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize(
    "store", [pytest.param("postgresql", marks=pytest.mark.postgres), "sqlite", "redis"]
)
def test_chaos_breaks_no_promise(store, tmp_path) -> None:
    told: list[str] = []
    report = run(store, tmp_path, seconds=SECONDS, seed=SEED, told=told.append)
    print(f"seed {SEED}", *told, report, sep="\n")
    assert len(report.evidence.committed) > SECONDS
    assert len(told) > SECONDS / 3
    assert not report.violations, str(report)
