"""Plots of measurements, by matplotlib if it is installed."""

import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from .stats import Measurement, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS = "#1b7f4b"
OTHERS = "#9aa5b1"
OUR_WORDS = ("Gator", "gator", "Worker", "alligator-sql")
"""Names of contenders that begin with one of these are ours."""


def draw(measurements: Sequence[Measurement], folder: Path, stem: str) -> Iterator[tuple[str, str]]:
    """Draw ``measurements`` into files of ``folder``, one for each unit; give titles and names.

    Samples over time are lines. All others are bars for the medians, with the span from the
    lowest to the highest one.
    """
    by_unit = groupby(
        sorted(measurements, key=lambda one: (one.interval is not None, one.unit)),
        key=lambda one: (one.interval is not None, one.unit),
    )
    for number, ((over_time, unit), group) in enumerate(by_unit):
        ones = list(group)
        name = f"{stem}-{number}.svg" if number else f"{stem}.svg"
        _figure(ones, folder / name, over_time=over_time)
        yield f"{stem}: {unit}", name


def are_possible() -> bool:
    """Return whether there can be plots; says what is missing."""
    if find_spec("matplotlib"):
        return True
    print("no plots: pip install --group bench, for matplotlib", file=sys.stderr)
    return False


def _figure(measurements: list[Measurement], path: Path, *, over_time: bool) -> None:
    # A figure without pyplot, which would look for a screen.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = [1 if over_time else len(one.samples) for one in measurements]
    height = sum(2.2 if over_time else 0.45 + 0.28 * number for number in rows) + 0.4
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(len(rows), squeeze=False, height_ratios=[one + 1 for one in rows])
    for place, one in zip(axes[:, 0], measurements, strict=True):
        place.set_title(f"{one.name}, {one.unit}", loc="left", fontsize=9)
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8)
        (_lines if over_time else _bars)(place, one)
    figure.savefig(path, metadata={"Date": None})


def _bars(axes: "Axes", measurement: Measurement) -> None:
    found = figures(measurement)[::-1]
    medians = [figure.median for figure in found]
    spans = [
        [figure.median - figure.lowest for figure in found],
        [figure.highest - figure.median for figure in found],
    ]
    colours = [OURS if one.contender.startswith(OUR_WORDS) else OTHERS for one in found]
    names = [figure.contender for figure in found]
    axes.barh(names, medians, xerr=spans, color=colours, ecolor="#444444", capsize=2)


def _lines(axes: "Axes", measurement: Measurement) -> None:
    assert measurement.interval is not None
    for values in measurement.samples.values():
        seconds = [place * measurement.interval for place in range(1, len(values) + 1)]
        axes.plot(seconds, values, color=OURS, linewidth=1)
    highest = max(max(values) for values in measurement.samples.values())
    axes.set_ylim(0, 1.1 * highest or 1)
    axes.set_xlabel("s", fontsize=8)
