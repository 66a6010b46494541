"""What the benchmarks make of their samples; ``make bench-quick`` runs the scenarios."""

import json

import pytest

from benchmarks.peers import meter
from benchmarks.peers.contenders import PEERS, Contender
from benchmarks.report import Report
from benchmarks.run import Run
from benchmarks.stats import Measurement, figures, interleave


def broken() -> float:
    raise RuntimeError("it cannot")


def test_a_ratio_is_the_median_of_those_of_each_repetition():
    measurement = Measurement("drain", "1/s", {"a": [10, 90, 40], "b": [5, 30, 20]}, "b")
    ratios = {figure.contender: figure.ratio for figure in figures(measurement)}
    assert ratios == {"a": 2, "b": None}


def test_contenders_take_turns_and_begin_with_another_one_each_time():
    order: list[str] = []
    contenders = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    interleave(2, contenders, warm_up=False)
    assert order == ["a", "b", "b", "a"]


def test_the_first_round_does_not_count():
    values = iter([1.0, 2.0, 3.0])
    assert interleave(2, {"a": lambda: next(values)}) == {"a": [2.0, 3.0]}


def test_a_peer_that_fails_is_left_out_with_a_message(capsys):
    found = interleave(1, {"ours": lambda: 1.0, "theirs": broken}, peers=["theirs"])
    assert found == {"ours": [1.0]}
    assert "left out: theirs failed: RuntimeError('it cannot')" in capsys.readouterr().err


def test_what_is_ours_may_not_fail():
    with pytest.raises(RuntimeError, match="it cannot"):
        interleave(1, {"ours": broken}, peers=["theirs"])


def test_a_peer_that_needs_a_python_that_is_not_here_is_left_out(capsys, monkeypatch):
    never = Contender("peer 1", ("peer", "Peer"), requirements=("peer==1",), oldest=(4, 99))
    monkeypatch.setitem(PEERS, "sqlite", (never,))
    run = Run(quick=True, peers=["peer"])
    for _ in range(2):
        assert run.peers("sqlite") == []
        assert run.rival("sqlite").name == "sqlite3"
    said = "left out: peer 1 cannot be installed: needs Python 4.99, which was not found\n"
    assert capsys.readouterr().err == said


def test_a_meter_counts_and_keeps_the_first_and_the_last_time(tmp_path):
    counter = meter.Meter(str(tmp_path / "calls"))
    for _ in range(3):
        counter.count()
    reading = meter.read(tmp_path / "calls")
    assert reading.calls == 3
    assert 0 < reading.first < reading.last


def test_a_report_has_tables_and_samples(tmp_path):
    pytest.importorskip("matplotlib", reason="draws the plots")
    report = Report(quick=True)
    report.add(
        "drain",
        "SQLite 3, WAL",
        [
            Measurement(
                "1 process", "tasks/s", {"Worker": [2000, 2400], "huey": [1000, 1000]}, "huey"
            ),
            Measurement("waiting", "tasks", {"Worker": [1, 2, 3]}, interval=1.0),
        ],
    )
    report.write(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| 1 process | Worker    |  2,200 |  2,000 |   2,400 | tasks/s |  2.20 |" in text
    for name in ("drain-sqlite-3.svg", "drain-sqlite-3-1.svg"):
        assert f"]({name})" in text
        assert (tmp_path / name).read_text().startswith("<?xml")
    data = json.loads((tmp_path / "figures.json").read_text())
    assert data["results"][0]["samples"] == {"Worker": [2000, 2400], "huey": [1000, 1000]}


def test_a_report_does_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.plots.find_spec", lambda name: None)
    report = Report(quick=True)
    report.add("drain", "SQLite 3", [Measurement("1 process", "tasks/s", {"Worker": [2000]})])
    report.write(tmp_path)
    assert "![" not in (tmp_path / "report.md").read_text()
    assert "no plots: pip install --group bench" in capsys.readouterr().err
