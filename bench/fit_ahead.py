"""`python -m bench.fit_ahead SESSIONS.jsonl SCORE.py`: fits the weights of `stretto.ahead` on real session timelines and prints them.

Every decision point of every session is a row for each command that may be wanted: what `ahead.of_job` and `ahead.of_moment` say there,
and whether the command was asked for before the next write. A logistic regression is fitted on all rows, and on each half to be judged
by the other. Needs scikit-learn, which nothing else here needs: `pip install scikit-learn`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.ahead import FORMATS, Policy
from stretto import ahead
from stretto.rules import PRESETS

LOOKS_S = (0.0, 2.5, 6.0, 11.0, 20.0, 40.0)
"""Times after each event at which a row is made: one in each period that `ahead` tells apart."""
KEPT_SHARE = 0.3
"""Of the rows whose command was not asked for; they weigh more in return."""
STRENGTH = 0.01
"""Inverse of the regularisation's strength; ten times more or less changed nothing that could be told from chance."""


def main() -> None:
    """Fit, judge each half by the other, and print what to put into `ahead`."""
    parser = argparse.ArgumentParser(prog="bench.fit_ahead", description=__doc__)
    parser.add_argument("sessions", type=Path)
    parser.add_argument("scorer", type=Path)
    chosen = parser.parse_args()
    try:
        import numpy
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        sys.exit("cannot fit: scikit-learn is not installed; run `pip install scikit-learn` in this environment")
    scorer = _loaded(chosen.scorer)
    sessions = [json.loads(line)["events"] for line in chosen.sessions.read_text(encoding="utf-8").splitlines()]
    rows, asked, of_session = _rows(sessions, scorer)
    table, answers, number = numpy.array(rows, dtype="float32"), numpy.array(asked), numpy.array(of_session)
    draw = numpy.random.default_rng(1)
    half = len(sessions) // 2
    fitted = {}
    for name, chosen_rows in (("first half", number < half), ("second half", number >= half), ("all", number >= 0)):
        kept = chosen_rows & (answers | (draw.random(len(answers)) < KEPT_SHARE))
        weights = numpy.where(answers[kept], 1.0, 1 / KEPT_SHARE)
        model = LogisticRegression(C=STRENGTH, max_iter=400).fit(table[kept], answers[kept], sample_weight=weights)
        fitted[name] = ([round(float(weight), 2) for weight in model.coef_[0]], round(float(model.intercept_[0]), 2))
    for preset in PRESETS.values():
        if preset.slots:
            print(preset.name, "each half scored with the weights of the other:", _score(sessions, scorer, preset.name, fitted, half))
    weights, bias = fitted["all"]
    print(f"BIAS = {bias}\nJOB_WEIGHTS = {tuple(weights[: len(ahead.JOB_WEIGHTS)])}")
    print(f"MOMENT_WEIGHTS = {tuple(weights[len(ahead.JOB_WEIGHTS) :])}")


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("timeline_scorer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(sessions: list[list[dict[str, Any]]], scorer: Any) -> tuple[list[list[float]], list[bool], list[int]]:
    usual = scorer.usual_times(sessions)
    policy = Policy()
    rows: list[list[float]] = []
    asked: list[bool] = []
    of_session: list[int] = []
    for number, events in enumerate(sessions):
        policy.session()
        line = scorer.timeline(events, usual)
        for at, event in enumerate(line):
            policy.observe({**event, "now": max(event["at"], event["end"]), "kind": event["what"]})
            habits = policy.habits
            if not habits.wrote_any:
                continue
            now_s = policy.clock_s(max(event["at"], event["end"]))
            next_s = policy.clock_s(line[at + 1]["at"]) if at + 1 < len(line) else now_s + 60
            follows = _follows(line[at + 1 :])
            jobs = [job for job in habits.lasts_s if job not in habits.stretch and ahead.is_considered(habits, job)]
            of_job = [ahead.of_job(habits, job) for job in jobs]
            for look_s in LOOKS_S:
                if look_s and now_s + look_s > next_s:
                    break
                of_moment = ahead.of_moment(habits, now_s + look_s)
                rows += [[*values, *of_moment] for values in of_job]
                asked += [job in follows for job in jobs]
                of_session += [number] * len(jobs)
    return rows, asked, of_session


def _follows(line: list[dict[str, Any]]) -> set[str]:
    """Return what is asked for before the next write."""
    found: set[str] = set()
    for event in line:
        if event["what"] == "write":
            break
        for core in event.get("cores", ()):
            if FORMATS.search(core):
                return found
            found.add(core)
    return found


def _score(sessions: list[list[dict[str, Any]]], scorer: Any, preset: str, fitted: dict[str, Any], half: int) -> str:
    class Crossed(Policy):
        number = 0

        def session(self) -> None:
            weights, bias = fitted["second half" if self.number < half else "first half"]
            count = len(ahead.JOB_WEIGHTS)
            ahead.JOB_WEIGHTS, ahead.MOMENT_WEIGHTS, ahead.BIAS = tuple(weights[:count]), tuple(weights[count:]), bias
            self.number += 1
            super().session()

    policy = Crossed()
    policy.price = PRESETS[preset].price
    total: Counter[str] = sum(scorer.score(sessions, policy, PRESETS[preset].slots), Counter())
    hidden, at_once = 100 * total["hidden_s"] / total["check_s"], 100 * total["instant"] / total["checks"]
    return f"hidden {hidden:.1f} %, at once {at_once:.1f} %, idle {total['idle'] / max(1.0, total['ahead_hidden']):.2f} s per s"


if __name__ == "__main__":
    main()
