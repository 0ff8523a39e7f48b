"""`micrornn inspect RUN` without a measure: one diagnosis."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Micrornn
from made_up_runs import made_up

from micrornn.inspect.diagnosis import diagnosis
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.register import names


def said(what: str, *kinds: str) -> Measure:
    return Measure(
        what, {}, {}, {}, {}, tuple(Verdict(kind, f"{what}: {kind}.", {}, f"Mend {kind}.") for kind in kinds)
    )


def about(loss: float) -> dict[str, Any]:
    beside = [("frequencies", "by character frequencies alone", 3.0), ("ln_V", "by chance (ln V)", 4.0)]
    return {"updates": 50, "learned": {"loss": loss, "unit": "nats per character", "beside": beside}}


@pytest.mark.parametrize(
    "found, loss, lr, kind, words, first",
    [
        ([said("flow", "healthy")], 2.0, 0.01, "healthy", "33 % below", "Nothing needs mending"),
        ([said("flow", "vanishing"), said("nonfinite", "healthy")], 2.0, 0.01, "vanishing",
         "all values and gradients are finite (nonfinite)", "Mend vanishing"),
        ([said("flow", "dead", "exploding"), said("credit", "exploding")], 2.0, 0.01, "exploding",
         "exploding (flow, credit): flow: exploding.", "Mend exploding"),
        ([said("flow", "healthy")], 3.1, 1e-7, "unlearned", "After 50 updates", "A higher `lr`: it was 1e-7"),
        ([said("flow", "healthy")], 3.0, 0.01, "unlearned", "no better than 3 by character frequencies",
         "Train longer than 50"),
        ([said("flow", "vanishing", "saturated")], 3.5, 0.01, "unlearned", "saturated (flow)", "Train longer"),
        ([said("flow", "exploding")], 3.5, 0.01, "exploding", "Not well: exploding", "Mend exploding"),
        ([said("noise", "noisy"), said("flow", "unsure")], 2.0, 0.01, "healthy", "Not told (flow)", "Mend noisy"),
    ],
)  # fmt: skip
def test_a_diagnosis_says_what_is_well_and_what_is_not(found, loss, lr, kind, words, first):
    measure = diagnosis(found, about(loss), lr)
    (verdict,) = measure.verdicts
    assert verdict.kind == kind and words in verdict.words and verdict.advice.startswith(first)
    assert "ln V" in verdict.words


def test_nothing_is_well_that_was_not_looked_at():
    (verdict,) = diagnosis([said("noise", "healthy"), said("flow", "unsure")], about(2.0)).verdicts
    assert "Well:" not in verdict.words


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: made_up(kind, folder).path for kind in ("healthy", "vanishing")}


@pytest.fixture
def inspect(micrornn: Micrornn) -> Micrornn:
    return partial(micrornn, "inspect")


def test_a_run_without_a_measure_is_diagnosed(inspect, runs):
    code, text, _ = inspect(runs["vanishing"], "--windows", 2, "--batch-size", 4, "--fail-on", "vanishing")
    assert (
        code == 1 and text.startswith("diagnosis  vanishing") and "Not well: vanishing (flow)" in " ".join(text.split())
    )
    for name in names():
        assert any(line.endswith(f"inspect {name} {runs['vanishing']}") for line in text.splitlines())
    code, text, _ = inspect("--json", runs["healthy"])
    found = json.loads(text)
    assert code == 0 and found["verdicts"][0]["kind"] == "healthy", found["verdicts"]
    assert {"flow", "nonfinite", "weights"} <= set(found["measures"]) and found["well"] and not found["findings"]
    assert inspect("diagnosis", runs["healthy"], "--json")[1] == text


def test_slips_and_help(inspect, runs, tmp_path):
    code, _, err = inspect("flwo", runs["healthy"])
    assert code == 2 and "No such command 'flwo'" in err
    code, _, err = inspect(tmp_path / "nothing")
    assert code not in (0, 1) and str(tmp_path / "nothing") in err.replace("\n", "")
    code, text, _ = inspect("--help")
    assert code == 0 and "diagnosis" in text and "credit" in text
