"""A task costs what it cost when somebody last looked: statements, transactions, log."""

import json
from collections.abc import Iterator

import pytest

from .costs import COMMAND, PATH, Costs, counting_server, measured

TOLERANCE = {"statements": 0.0, "transactions": 0.0, "WAL bytes": 0.03}
"""By which part of it a cost may differ."""
SPARE = {"statements": 0.02, "transactions": 0.01, "WAL bytes": 8}
"""What is allowed besides: a slow worker beats, looks for news and claims a few times more."""
BASELINE: dict[str, Costs] = json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def costs() -> Iterator[dict[str, Costs]]:
    with counting_server() as server:
        yield measured(server)


@pytest.mark.postgres
@pytest.mark.parametrize("use", BASELINE)
def test_tasks_cost_what_the_golden_file_says(use, costs):
    for name, was in BASELINE[use].items():
        allowed = was * TOLERANCE[name] + SPARE[name]
        assert costs[use][name] == pytest.approx(was, abs=allowed), (
            f"{use}: {name} per task. If it was to change, run: {COMMAND}"
        )
