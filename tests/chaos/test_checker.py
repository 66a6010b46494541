"""The checker finds what it is there to find: in made-up evidence, and with a fence broken."""

from collections.abc import Callable

import pytest

from alligator_sql.constants import FAILED, RETRYING, RUNNING, SUCCESS, WAITING

from . import checker
from .checker import Evidence
from .journal import Committed, Entry, Meant, Planned, Ran, Struck
from .run import run
from .stores import Change, End, State

TASK, GONE = "a" * 32, "b" * 32
ONE, TWO = "1" * 32, "2" * 32  # workers


class Story:
    """The evidence of a task that runs, crashes with its worker, and succeeds with another."""

    def __init__(self, kind: str = "plain") -> None:
        self.entries: list[Entry] = [
            Planned(0.0, "kept", {TASK: kind}, joined=True, rolls_back=False),
            Planned(0.0, "undone", {GONE: kind}, joined=True, rolls_back=True),
            Committed(1.0, "kept"),
            Ran(2.1, TASK, 1, ONE, 1, 11),
            Struck(2.5, "kill", "worker-1", 11, 0.0),
            Ran(6.1, TASK, 2, TWO, 2, 12),
            Meant(6.2, TASK, 2, TWO, "success"),
        ]
        self.changes = [
            Change(0.5, TASK, State(WAITING, 0, None, 0, 0)),
            Change(2.0, TASK, State(RUNNING, 1, ONE, 1, 0)),
            Change(4.0, TASK, State(RUNNING, 1, ONE, 1, 1)),
            Change(4.0, TASK, State(WAITING, 1, None, 1, 1)),
            Change(6.0, TASK, State(RUNNING, 2, TWO, 2, 1)),
            Change(6.3, TASK, State(SUCCESS, 2, TWO, 2, 1)),
        ]
        self.ends = {TASK: End(State(SUCCESS, 2, TWO, 2, 1), None, f'"2:{TWO}"')}
        self.orders = {"kept"}
        self.effects: list[str] = [TASK] if kind == "completing" else []

    def evidence(self) -> Evidence:
        return Evidence(self.entries, self.changes, self.ends, self.orders, self.effects)

    def broken(self) -> set[str]:
        return {violation.invariant for violation in checker.check(self.evidence())}

    def ends_as(self, state: State, error: str | None = None) -> None:
        self.changes[-1] = self.changes[-1]._replace(state=state)
        self.ends[TASK] = End(state, error)


@pytest.mark.parametrize("kind", ["plain", "completing"])
def test_a_crash_that_is_made_good_breaks_nothing(kind) -> None:
    story = Story(kind)
    assert story.broken() == set()
    assert story.evidence().committed == {TASK}
    assert checker.repeated(story.evidence()) == {TASK}
    assert checker.waits_after_kills(story.evidence()) == [pytest.approx(3.6)]


def _lose(story: Story) -> None:
    del story.ends[TASK]


def _lose_in_doubt(story: Story) -> None:
    """Nobody has heard of the commit, but the row of the application is there."""
    story.entries.remove(Committed(1.0, "kept"))
    story.changes.clear()
    story.ends.clear()
    story.entries = [entry for entry in story.entries if isinstance(entry, Planned)]


def _leave_running(story: Story) -> None:
    story.changes.pop()
    story.ends[TASK] = End(story.changes[-1].state)


def _fail_without_a_reason(story: Story) -> None:
    story.ends_as(State(FAILED, 2, TWO, 2, 1))


def _fail_what_had_to_succeed(story: Story) -> None:
    story.ends_as(State(FAILED, 2, TWO, 2, 1), "MeantError: 2")


def _quarantine_too_early(story: Story) -> None:
    story.ends_as(State(FAILED, 2, TWO, 2, 2, "quarantined"))


def _keep_the_result_of_another_run(story: Story) -> None:
    story.ends[TASK] = story.ends[TASK]._replace(result=f'"1:{ONE}"')


def _run_what_was_rolled_back(story: Story) -> None:
    story.entries.append(Ran(3.0, GONE, 1, ONE, 1, 11))


def _store_what_was_rolled_back(story: Story) -> None:
    story.changes.append(Change(3.0, GONE, State(WAITING, 0, None, 0, 0)))


def _commit_what_was_rolled_back(story: Story) -> None:
    story.orders.add("undone")


def _run_a_lease_twice(story: Story) -> None:
    story.entries.append(Ran(6.15, TASK, 2, TWO, 2, 12))


def _run_without_a_claim(story: Story) -> None:
    story.entries.append(Ran(7.0, TASK, 3, TWO, 3, 12))


def _run_in_the_name_of_another(story: Story) -> None:
    story.entries[3] = Ran(2.1, TASK, 1, TWO, 1, 11)


def _tell_the_task_a_wrong_attempt(story: Story) -> None:
    story.entries[5] = Ran(6.1, TASK, 2, TWO, 3, 12)


def _end_twice(story: Story) -> None:
    story.changes.append(story.changes[-1]._replace(at=7.0))


def _acknowledge_after_the_rescue(story: Story) -> None:
    story.changes.insert(4, Change(5.0, TASK, State(RETRYING, 1, None, 1, 1)))


def _accept_a_late_outcome(story: Story) -> None:
    """The first worker says in the name of the second that the task is done."""
    story.entries[6] = Meant(6.2, TASK, 1, ONE, "success")


def _accept_an_outcome_before_its_run_has_ended(story: Story) -> None:
    story.entries[6] = Meant(6.4, TASK, 2, TWO, "success")


def _forget_the_crash(story: Story) -> None:
    story.changes[2:4] = [Change(4.0, TASK, State(WAITING, 1, None, 1, 0))]


def _count_an_attempt_too_many(story: Story) -> None:
    story.ends_as(State(SUCCESS, 2, TWO, 3, 1))


def _change_unseen(story: Story) -> None:
    story.ends[TASK] = story.ends[TASK]._replace(state=State(SUCCESS, 2, TWO, 2, 0))


@pytest.mark.parametrize(
    ("breaks", "invariant"),
    [
        (_lose, "lost"),
        (_lose_in_doubt, "lost"),
        (_leave_running, "not ended"),
        (_fail_without_a_reason, "wrong end"),
        (_fail_what_had_to_succeed, "wrong end"),
        (_quarantine_too_early, "wrong end"),
        (_keep_the_result_of_another_run, "wrong end"),
        (_run_what_was_rolled_back, "rolled back"),
        (_store_what_was_rolled_back, "rolled back"),
        (_commit_what_was_rolled_back, "rolled back"),
        (_run_a_lease_twice, "ran twice"),
        (_run_without_a_claim, "wrong run"),
        (_run_in_the_name_of_another, "wrong run"),
        (_tell_the_task_a_wrong_attempt, "wrong run"),
        (_end_twice, "acked twice"),
        (_acknowledge_after_the_rescue, "acked twice"),
        (_accept_a_late_outcome, "wrong outcome"),
        (_accept_an_outcome_before_its_run_has_ended, "wrong outcome"),
        (_forget_the_crash, "wrong change"),
        (_count_an_attempt_too_many, "wrong change"),
        (_change_unseen, "wrong change"),
    ],
)
def test_each_broken_promise_is_found(breaks: Callable[[Story], None], invariant) -> None:
    story = Story()
    breaks(story)
    assert invariant in story.broken()


@pytest.mark.parametrize("effects", [[], [TASK, TASK]])
def test_an_effect_comes_exactly_once(effects) -> None:
    story = Story("completing")
    story.effects = effects
    assert story.broken() == {"effects"}


def test_a_task_that_has_to_fail_must_not_succeed() -> None:
    assert "wrong end" in Story("hopeless").broken()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_broken_fence_is_found(tmp_path) -> None:
    for seed in range(1, 4):  # a storm may pass without an outcome that comes too late
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = run(
            "sqlite", folder, seconds=20, seed=seed, workers=3,
            worker=("-m", "tests.chaos.unfenced"), faults=("freeze",), patience_with_the_rest=5,
        )  # fmt: skip
        broken = {violation.invariant for violation in report.violations}
        assert not broken & {"lost", "rolled back", "process"}, str(report)
        if "wrong outcome" in broken:
            return
    pytest.fail(str(report))
