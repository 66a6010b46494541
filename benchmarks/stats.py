"""Samples, and what is said about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

Samples = dict[str, list[float]]
"""What was measured, in the order of the repetitions, by contender."""


@dataclass(frozen=True)
class Measurement:
    """One property of one store, measured for every contender in the same run.

    Attributes:
        name: What was measured.
        unit: The unit of the samples.
        samples: The samples of each contender.
        baseline: The contender that the others are compared with, if any.
        note: What a reader has to know.
    """

    name: str
    unit: str
    samples: Samples
    baseline: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """The figures of one contender in one measurement."""

    contender: str
    median: float
    lowest: float
    highest: float
    ratio: float | None
    samples: Sequence[float] = field(repr=False)


def figures(measurement: Measurement) -> list[Figure]:
    """Return the figures of every contender.

    The ratio is the median of the ratios of each repetition: what slows a machine down for
    a while slows both sides of it.
    """
    base = measurement.samples.get(measurement.baseline or "")
    found = []
    for contender, samples in measurement.samples.items():
        ratio = None
        if base is not None and contender != measurement.baseline:
            ratio = median(ours / raw for ours, raw in zip(samples, base, strict=True))
        found.append(
            Figure(contender, median(samples), min(samples), max(samples), ratio, samples)
        )
    return found


def interleave(repetitions: int, contenders: Mapping[str, Callable[[], float]]) -> Samples:
    """Measure every contender once in each repetition, starting with another one each time.

    A first round warms up caches and plans and does not count.
    """
    names = list(contenders)
    samples: Samples = {name: [] for name in names}
    for repetition in range(repetitions + 1):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            value = contenders[name]()
            if repetition:
                samples[name].append(value)
    return samples


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p99 and max of ``samples``."""
    cuts = quantiles(samples, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(samples)}
