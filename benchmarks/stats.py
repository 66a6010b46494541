"""Samples, and what is said about them."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

T = TypeVar("T")
Samples = dict[str, list[float]]
"""What each contender reached, in the order of the repetitions."""


@dataclass(frozen=True)
class Measurement:
    """One property, measured for every contender in the same run.

    Attributes:
        name: What was measured.
        unit: The unit of the samples.
        samples: The samples of each contender.
        baseline: The contender with which the others are compared, if any.
        interval: The seconds between two samples, if they are of one run, over time.
    """

    name: str
    unit: str
    samples: Samples
    baseline: str | None = None
    interval: float | None = None


@dataclass(frozen=True)
class Figure:
    """What is said about the samples of one contender; ``ratio`` is that to the baseline."""

    contender: str
    median: float
    lowest: float
    highest: float
    ratio: float | None


def figures(measurement: Measurement) -> list[Figure]:
    """Return the figures of every contender.

    The ratio is the median of the ratios of each repetition: what slows the machine down for
    a while slows both sides of it.
    """
    base = measurement.samples.get(measurement.baseline or "")
    found = []
    for contender, samples in measurement.samples.items():
        ratio = None
        if base is not None and contender != measurement.baseline and all(base):
            ratio = median(ours / raw for ours, raw in zip(samples, base, strict=True))
        found.append(Figure(contender, median(samples), min(samples), max(samples), ratio))
    return found


def interleave(
    repetitions: int,
    contenders: Mapping[str, Callable[[], T]],
    *,
    warm_up: bool = True,
    peers: Collection[str] = (),
) -> dict[str, list[T]]:
    """Measure every contender once in each repetition, beginning with another one each time.

    A first round, to warm up caches and plans, does not count. When one of ``peers`` fails,
    it is left out with a message, and the others go on.
    """
    names = list(contenders)
    found: dict[str, list[T]] = {name: [] for name in names}
    for repetition in range(-1 if warm_up else 0, repetitions):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            if name not in found:
                continue
            try:
                value = contenders[name]()
            except Exception as error:
                if name not in peers:
                    raise
                print(f"left out: {name} failed: {error!r}", file=sys.stderr)
                del found[name]
            else:
                if repetition >= 0:
                    found[name].append(value)
    return found


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and max of ``samples``."""
    cuts = quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98], "max": max(samples)}


def by_key(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Samples]:
    """Turn dictionaries that were measured at once into samples of each of their keys."""
    samples: dict[str, Samples] = {}
    for contender, measured in found.items():
        for one in measured:
            for key, value in one.items():
                samples.setdefault(key, {}).setdefault(contender, []).append(value)
    return samples
