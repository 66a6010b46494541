"""The invariants, checked against what the processes, the witness and the store say.

Nothing here asks the code under test. The journal says what ran and what it was about to
answer, the witness which changes of a task were committed, the store what there is in the end.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from alligator_sql.constants import CLAIMABLE, FAILED, RETRYING, RUNNING, SUCCESS, WAITING

from .journal import Committed, Entry, Meant, Planned, Ran, Struck
from .stores import Change, End, State
from .tasks import KINDS, Kind

QUARANTINED: Final = "quarantined"
MAX_CRASHES: Final = 3
Run = tuple[str, int, str]
"""Task, lease and worker."""


class Violation(NamedTuple):
    """A broken promise: which, of which task, and how."""

    invariant: str
    task: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """Everything that is known after a run.

    Attributes:
        entries: The journal.
        changes: What the witness saw; those of one task in their order.
        ends: What the store has in the end.
        orders: The transactions of the application whose row is there.
        effects: The tasks that took effect together with their success, once for each effect.
        precision: Seconds by which the times of the witness may be wrong.
    """

    entries: list[Entry]
    changes: list[Change]
    ends: dict[str, End]
    orders: set[str] = field(default_factory=set)
    effects: list[str] = field(default_factory=list)
    precision: float = 0.0

    @cached_property
    def plans(self) -> list[Planned]:
        """What the producers wanted to store."""
        return [entry for entry in self.entries if isinstance(entry, Planned)]

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each planned task."""
        return {task: kind for plan in self.plans for task, kind in plan.tasks.items()}

    @cached_property
    def committed(self) -> set[str]:
        """The tasks that must have run: neither rolled back, nor doubtful and not there.

        A transaction whose answer was lost is there if its row is; one that was no part of
        the application's is there if the store knows it, and then has to be whole.
        """
        answered = {entry.transaction for entry in self.entries if isinstance(entry, Committed)}
        return {
            task
            for plan in self.plans
            for task in plan.tasks
            if plan.transaction in answered
            or (plan.transaction in self.orders if plan.joined else task in self.history)
        }

    @property
    def rolled_back(self) -> set[str]:
        """The tasks of transactions that their producer rolled back."""
        return {task for plan in self.plans if plan.rolls_back for task in plan.tasks}

    @cached_property
    def doubtful(self) -> set[str]:
        """The tasks whose producer never learned whether they were stored."""
        answered = {entry.transaction for entry in self.entries if isinstance(entry, Committed)}
        return {
            task
            for plan in self.plans
            for task in plan.tasks
            if plan.transaction not in answered and not plan.rolls_back
        }

    @cached_property
    def history(self) -> dict[str, list[Change]]:
        """The changes of each task.

        A crash may be counted a statement earlier than the task is given back, in the same
        transaction; that is one change.
        """
        found: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            before = found[change.task][-1].state if found[change.task] else None
            if before is None or not _is_counted(before, change.state):
                found[change.task].append(change)
        return dict(found)

    @cached_property
    def runs(self) -> dict[str, list[Ran]]:
        """The runs of each task, in their order."""
        found: defaultdict[str, list[Ran]] = defaultdict(list)
        for entry in self.entries:
            if isinstance(entry, Ran):
                found[entry.task].append(entry)
        return dict(found)

    @cached_property
    def meant(self) -> dict[Run, list[Meant]]:
        """What each run was about to answer."""
        found: defaultdict[Run, list[Meant]] = defaultdict(list)
        for entry in self.entries:
            if isinstance(entry, Meant):
                found[entry.task, entry.lease, entry.worker].append(entry)
        return dict(found)

    def lines_about(self, task: str) -> Iterator[str]:
        """Yield what all witnesses say of a task, in the order of time."""
        said: list[tuple[float, object]] = [(change.at, change) for change in self.changes
                                            if change.task == task]  # fmt: skip
        for entry in self.entries:
            about = entry.tasks if isinstance(entry, Planned) else getattr(entry, "task", "")
            if task in about:
                said.append((entry.at, entry))
        yield from (str(what) for _, what in sorted(said, key=lambda one: one[0]))
        yield f"in the end: {self.ends.get(task)}"


def check(evidence: Evidence) -> list[Violation]:
    """Return all broken promises."""
    return [
        *_no_rolled_back_task_ran(evidence),
        *_every_committed_task_ended(evidence),
        *_each_lease_ran_once(evidence),
        *_each_change_is_allowed(evidence),
        *_each_outcome_has_its_run(evidence),
        *_each_run_has_its_claim(evidence),
        *_effects_are_exact(evidence),
    ]


def _no_rolled_back_task_ran(evidence: Evidence) -> Iterator[Violation]:
    for task in (evidence.runs.keys() | evidence.history.keys()) - evidence.committed:
        what = "ran" if task in evidence.runs else "was stored"
        yield Violation("rolled back", task, f"was not committed, but {what}")
    for plan in evidence.plans:
        if plan.rolls_back and plan.transaction in evidence.orders:
            yield Violation("rolled back", next(iter(plan.tasks)), "its transaction is there")


def _every_committed_task_ended(evidence: Evidence) -> Iterator[Violation]:
    for task in evidence.committed:
        end = evidence.ends.get(task)
        if end is None:
            yield Violation("lost", task, "was committed, and the store does not know it")
            continue
        if end.state.status not in {SUCCESS, FAILED}:
            yield Violation("not ended", task, f"has the status {end.state.status}")
        elif wrong := _wrong_end(end, KINDS[evidence.kinds[task]]):
            yield Violation("wrong end", task, wrong)


def _wrong_end(end: End, kind: Kind) -> str | None:
    """Return what is wrong with the end of a task of this kind, or None."""
    state = end.state
    if state.status == SUCCESS:
        return _wrong_success(end, kind)
    if state.reason == QUARANTINED:
        return None if state.crashes >= MAX_CRASHES else f"quarantined by {state.crashes} crashes"
    if not end.error:
        return "failed without a reason"
    if not kind.failures:
        return f"failed, but had to succeed: {end.error}"
    failures = state.attempts - state.crashes
    return None if failures == kind.failures else f"failed after {failures} failures"


def _wrong_success(end: End, kind: Kind) -> str | None:
    named = f'"{end.state.lease}:{end.state.worker}"'
    if kind.failures:
        return "succeeded, but had to fail"
    if kind.options.get("keep_result") and end.result != named:
        return f"has the result {end.result}, not {named}"
    return None


def _each_lease_ran_once(evidence: Evidence) -> Iterator[Violation]:
    for task, runs in evidence.runs.items():
        for lease, times in Counter(run.lease for run in runs).items():
            if times > 1:
                yield Violation("ran twice", task, f"lease {lease} ran {times} times")


def _each_change_is_allowed(evidence: Evidence) -> Iterator[Violation]:
    for task, changes in evidence.history.items():
        before: State | None = None
        given_back: set[int] = set()
        for change in changes:
            after = change.state
            if after.status != RUNNING and after.lease in given_back:
                yield Violation("acked twice", task, f"lease {after.lease}: {before} -> {after}")
            elif not _may_follow(before, after):
                yield Violation("wrong change", task, f"{before} -> {after}")
            if after.status != RUNNING:
                given_back.add(after.lease)
            before = after
        end = evidence.ends.get(task)
        if end is not None and end.state != before:
            yield Violation("wrong change", task, f"{before} -> {end.state}, unseen")


def _may_follow(before: State | None, after: State) -> bool:
    """Whether one transaction of a worker or a producer may do this."""
    if before is None:
        return (after.lease, after.attempts, after.crashes, after.worker) == (0, 0, 0, None)
    if before.status == RUNNING:
        return _may_end(before, after)
    claimed = (RUNNING, before.lease + 1, before.attempts + 1, before.crashes)
    return (
        before.status in CLAIMABLE
        and after.worker is not None
        and after[:2] + after[3:5] == claimed
    )


def _may_end(before: State, after: State) -> bool:
    """Whether a claim may end like this."""
    grown = (
        after.lease - before.lease,
        after.attempts - before.attempts,
        after.crashes - before.crashes,
    )
    if after.reason == QUARANTINED:
        return after.status == FAILED and grown == (0, 0, 1)
    if after.status == WAITING:  # released or snoozed, or taken back from a dead worker
        return grown in {(0, -1, 0), (0, 0, 1)}
    if after.status == RETRYING:
        return grown == (0, 0, 0)
    return (
        after.status in {SUCCESS, FAILED} and grown == (0, 0, 0) and after.worker == before.worker
    )


def _is_counted(before: State, after: State) -> bool:
    """Whether nothing but a crash was counted of a task that is held."""
    return before.status == RUNNING and after == before._replace(crashes=before.crashes + 1)


def _each_outcome_has_its_run(evidence: Evidence) -> Iterator[Violation]:
    """No late or invented outcome was accepted: its own run was about to answer just that."""
    for task, changes in evidence.history.items():
        worker: str | None = None
        for change in changes:
            state = change.state
            outcome = {SUCCESS: "success", FAILED: "failure", RETRYING: "failure"}.get(state.status)
            if outcome is not None and state.reason != QUARANTINED:
                said = evidence.meant.get((task, state.lease, worker or ""), [])
                if not any(
                    meant.outcome == outcome and meant.at <= change.at + evidence.precision
                    for meant in said
                ):
                    yield Violation(
                        "wrong outcome",
                        task,
                        f"lease {state.lease}: {outcome}, but {said or 'no run'}",
                    )
            worker = state.worker


def _each_run_has_its_claim(evidence: Evidence) -> Iterator[Violation]:
    claims = {
        (change.task, change.state.lease): change
        for change in evidence.changes
        if change.state.status == RUNNING
    }
    for task, runs in evidence.runs.items():
        for run in runs:
            claim = claims.get((task, run.lease))
            if claim is None:
                yield Violation("wrong run", task, f"lease {run.lease} ran, but nobody claimed it")
            elif (claim.state.worker, claim.state.attempts) != (run.worker, run.attempt):
                yield Violation("wrong run", task, f"{run}, but {claim}")


def _effects_are_exact(evidence: Evidence) -> Iterator[Violation]:
    effects = Counter(evidence.effects)
    for task, kind in evidence.kinds.items():
        if kind != "completing":
            continue
        end = evidence.ends.get(task)
        expected = int(end is not None and end.state.status == SUCCESS)
        if effects[task] != expected:
            yield Violation("effects", task, f"{effects[task]} effects, expected {expected}")


def repeated(evidence: Evidence) -> set[str]:
    """Return the tasks that ran again although no outcome of theirs asked for that."""
    found = set()
    for task, runs in evidence.runs.items():
        recorded = {
            change.state.lease
            for change in evidence.history.get(task, ())
            if change.state.status in {SUCCESS, FAILED, RETRYING}
            and change.state.reason != QUARANTINED
        } | {
            run.lease
            for run in runs
            if any(
                m.outcome == "snooze" for m in evidence.meant.get((task, run.lease, run.worker), ())
            )
        }
        if len(runs) > 1 and any(run.lease not in recorded for run in runs):
            found.add(task)
    return found


def waits_after_kills(evidence: Evidence) -> list[float]:
    """Return the seconds until each task that a killed worker was running ran again."""
    killed = {
        entry.pid: entry.at
        for entry in evidence.entries
        if isinstance(entry, Struck) and entry.fault == "kill"
    }
    return [
        following.at - killed[run.pid]
        for runs in evidence.runs.values()
        for run, following in pairwise(runs)
        if run.pid in killed and (run.task, run.lease, run.worker) not in evidence.meant
    ]


def recoveries(evidence: Evidence) -> list[float]:
    """Return the seconds from each restart of the store until a task ran that was stored since."""
    first = {task: runs[0].at for task, runs in evidence.runs.items()}
    found = []
    for entry in evidence.entries:
        if isinstance(entry, Struck) and entry.fault == "restart":
            since = [
                first[task] - entry.at
                for plan in evidence.plans
                if plan.at > entry.at
                for task in plan.tasks
                if task in first
            ]
            if since:
                found.append(min(since))
    return found
