"""What the container files promise, read from the files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return dict(compose["services"])


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The instructions of the image that is shipped, which is the last stage."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]
    last = max(number for number, (word, _) in enumerate(pairs) if word == "FROM")
    return pairs[last:]


def value(instructions: list[tuple[str, str]], word: str) -> str:
    return [rest for name, rest in instructions if name == word][-1]


def test_everything_that_the_demo_needs_is_there(services: dict[str, Any]) -> None:
    assert {"postgres", "schema", "worker", "demo"} <= services.keys()


@pytest.mark.parametrize("name", ["schema", "worker", "demo"])
def test_the_connection_string_is_no_argument(services: dict[str, Any], name: str) -> None:
    service = services[name]
    argv = service.get("entrypoint", []) + service.get("command", [])
    assert "ALLIGATOR_CONN" in service["environment"]
    assert not [argument for argument in argv if "://" in argument or "PASSWORD" in argument]


@pytest.mark.parametrize("name", ["schema", "worker", "demo"])
def test_nothing_starts_before_the_database_answers(services: dict[str, Any], name: str) -> None:
    assert services[name]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"]


@pytest.mark.parametrize("name", ["worker", "demo"])
def test_nothing_starts_before_the_schema_is_there(services: dict[str, Any], name: str) -> None:
    condition = services[name]["depends_on"]["schema"]["condition"]
    assert condition == "service_completed_successfully"


def test_a_stopped_worker_has_time_for_its_grace(services: dict[str, Any]) -> None:
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > 25


def test_the_image_does_not_run_as_root(instructions: list[tuple[str, str]]) -> None:
    assert value(instructions, "USER") not in {"root", "0"}


def test_the_stop_signal_reaches_the_worker(instructions: list[tuple[str, str]]) -> None:
    assert json.loads(value(instructions, "ENTRYPOINT")) == ["alligator-sql"]
    assert json.loads(value(instructions, "CMD")) == ["worker"]
    assert value(instructions, "STOPSIGNAL") == "SIGTERM"


def test_the_image_copies_only_what_exists() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    missing = [
        name for names in copied for name in names.split() if not (DOCKER.parent / name).exists()
    ]
    assert copied
    assert not missing
