"""``python -m benchmarks``."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .peers.contenders import KEYS, QUICK_KEYS
from .report import Report
from .run import Run
from .scenarios import NAMES as SCENARIOS
from .scenarios import ONCE, PER_STORE
from .servers import NAMES as STORES
from .servers import Stores
from .stats import Measurement

NOWHERE = "no store"
DEFAULT_STORES = ("postgresql18", "sqlite", "valkey")


def main() -> int:
    """Run the scenarios and return the exit code: 1 when one of them is broken."""
    options = _arguments()
    report = Report(quick=options.quick)
    peers = (QUICK_KEYS if options.quick else KEYS) if options.peers is None else options.peers
    run = Run(quick=options.quick, peers=peers)
    broken = []
    with Stores() as stores:
        for scenario, name, where, measure in _planned(options, stores, run):
            report.begin(f"{scenario}, {name}")
            try:
                measurements = measure()
            except Exception:  # the other scenarios are still worth their time
                traceback.print_exc()
                broken.append(f"{scenario}, {name}")
            else:
                report.add(scenario, where, measurements)
                if options.json is not None:
                    report.write_json(options.json)
    if options.results is not None:
        report.write(options.results)
    for failure in broken:
        print(f"broken: {failure}", file=sys.stderr)
    return 1 if broken else 0


def _planned(
    options: argparse.Namespace, stores: Stores, run: Run
) -> Iterator[tuple[str, str, str, Callable[[], list[Measurement]]]]:
    """Give each scenario, the name of its store, what that is, and what measures it."""
    for scenario in options.scenario:
        if scenario in ONCE:
            yield scenario, NOWHERE, NOWHERE, partial(ONCE[scenario], run)
            continue
        for name in options.store:
            store = stores[name]
            if (measure := PER_STORE[store.kind].get(scenario)) is not None:
                yield scenario, name, store.stamp(), partial(measure, store, run)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes for all of it; the figures mean little"
    )
    parser.add_argument(
        "--scenario", nargs="+", choices=SCENARIOS, default=SCENARIOS, metavar="NAME",
        help=f"what to measure: {', '.join(SCENARIOS)}; by default everything",
    )  # fmt: skip
    parser.add_argument(
        "--store", nargs="+", choices=STORES, default=DEFAULT_STORES, metavar="STORE",
        help=f"where: {', '.join(STORES)}; by default {', '.join(DEFAULT_STORES)}",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="*", choices=KEYS, metavar="PEER",
        help=f"who takes part beside us: {', '.join(KEYS)}; by default all, and in a quick run "
        f"{', '.join(QUICK_KEYS)}",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to FILE")
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER",
        help="write a report with plots and all samples to FOLDER",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
