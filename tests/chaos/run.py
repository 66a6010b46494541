"""One run of chaos, from the first process to the verdict."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alligator_sql.constants import FAILED, SUCCESS

from . import checker, journal
from .checker import Evidence, Violation
from .journal import Struck
from .stores import STORES
from .storm import WORKER, Storm

PATIENCE: Final = 60.0
"""Seconds that calm workers get to run anything, and then for what is left."""
SHOWN: Final = 10
"""Violations that are printed with all that is known of their task."""
CONNECTION: Final = ("disconnect", "stall", "reset", "cut", "swallow", "lock")


@dataclass(frozen=True)
class Report:
    """What came of a run; as text it is a table, and each violation with its history."""

    stamp: str
    evidence: Evidence
    violations: list[Violation]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        lines = [self.stamp, *(f"  {name:<{width}}  {value}" for name, value in self.rows())]
        for number, violation in enumerate(self.violations):
            lines.append(f"VIOLATED {violation.invariant}: task {violation.task} {violation.text}")
            if number < SHOWN and violation.task:
                lines += [f"    {line}" for line in self.evidence.lines_about(violation.task)]
        return "\n".join(lines)

    def rows(self) -> list[tuple[str, str]]:
        """Return the names and values of the table."""
        evidence = self.evidence
        faults = Counter(entry.fault for entry in evidence.entries if isinstance(entry, Struck))
        ends = [evidence.ends[task].state for task in evidence.committed & evidence.ends.keys()]
        failed = Counter(
            state.reason or "its own error" for state in ends if state.status == FAILED
        )
        doubtful = evidence.doubtful
        stored = len(doubtful & evidence.committed)
        runs = sum(map(len, evidence.runs.values()))
        again = len(checker.repeated(evidence))
        broken = Counter(violation.invariant for violation in self.violations)

        def listed(names: Counter[str]) -> str:
            return ", ".join(f"{count} {name}" for name, count in sorted(names.items())) or "none"

        def among(*names: str) -> Counter[str]:
            return Counter({name: faults[name] for name in names if faults[name]})

        def longest(seconds: list[float]) -> str:
            return f"{max(seconds):.2f} s (of {len(seconds)})" if seconds else "none"

        return [
            ("tasks committed", str(len(evidence.committed))),
            ("rolled back", str(len(evidence.rolled_back))),
            ("commits without an answer", f"{stored} took place, {len(doubtful) - stored} did not"),
            ("done", str(sum(state.status == SUCCESS for state in ends))),
            ("failed with a reason", f"{sum(failed.values())} ({listed(failed)})"),
            ("kills", listed(among("kill", "kill-producer", "stop", "stop-twice"))),
            ("SIGSTOP", str(faults["freeze"])),
            ("store restarts", str(faults["restart"])),
            ("connection faults", listed(among(*CONNECTION))),
            ("runs", str(runs)),
            ("ran more than once", f"{again} ({100 * again / max(1, len(evidence.runs)):.2f} %)"),
            ("lost", str(broken["lost"] + broken["not ended"])),
            ("acked twice", str(broken["acked twice"])),
            ("(task, lease) run twice", str(broken["ran twice"])),
            ("longest until a dead worker's task ran again",
             longest(checker.waits_after_kills(evidence))),
            ("longest recovery after a store restart", longest(checker.recoveries(evidence))),
            ("violations", str(len(self.violations))),
        ]  # fmt: skip


def run(
    store_name: str,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    producers: int = 3,
    workers: int = 4,
    worker: tuple[str, ...] = WORKER,
    faults: tuple[str, ...] = (),
    patience_with_the_rest: float = PATIENCE,
    told: Callable[[str], None] = lambda _: None,
) -> Report:
    """Let chaos reign for ``seconds``, drain what is left, and check every promise."""
    store = STORES[store_name]()
    with closing(store):
        storm = Storm(
            store, folder, seed=seed, producers=producers, workers=workers, worker=worker,
            faults=faults, told=told,
        )  # fmt: skip
        with closing(storm):
            storm.rage(seconds)
            told("calm")
            storm.drain(PATIENCE, patience_with_the_rest)
            told("drained")
        evidence = Evidence(
            list(journal.read(folder / "journal.jsonl")),
            store.changes(),
            store.ends(),
            store.orders(),
            store.effects(),
            store.precision,
        )
        stamp = store.stamp()
    violations = [Violation("process", "", problem) for problem in storm.problems]
    return Report(stamp, evidence, violations + checker.check(evidence))
