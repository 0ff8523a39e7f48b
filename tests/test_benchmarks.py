"""python -m benchmarks: frameworks take turns, train the same, and are told of in tables and a chart."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import chart, material, parts, table, worker
from benchmarks.__main__ import main as benchmarks
from benchmarks.runner import How, turns
from micrornn.bench import cases, work
from micrornn.bench.cases import LAYERS, Model, to_message
from micrornn.bench.made import made_tokens
from micrornn.ops import cross_entropy
from micrornn.optim import Optimizer, clip_scale, global_norm
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel

ROOT = Path(__file__).parents[1]
TINY = Model("tiny", "char", 65, 4, 2, 8, 4, 8)


class Scripted:
    """A worker that answers from a list."""

    def __init__(self, peer: str, times: list[list[float]], order: list[str]):
        self.peer, self.times, self.order = peer, iter(times), order

    def ask(self, what: str, case: Any, **limit: float) -> dict[str, Any]:
        self.order.append(self.peer)
        found = next(self.times)
        return {"times": found} if found else {"missing": True}


def test_peers_take_turns_and_medians_are_compared() -> None:
    order: list[str] = []
    together = [
        Scripted("micrornn", [[2.0, 2.0], [1.0, 9.0, 2.0]], order), Scripted("torch", [[5.0], [3.0]], order),
        Scripted("jax", [[], []], order),
    ]  # fmt: skip
    row = turns(together, "layer", LAYERS[0], How(rounds=2))  # type: ignore[arg-type]
    assert order == ["micrornn", "torch", "jax"] * 2
    assert row["median"] == {"micrornn": 2.0, "torch": 4.0} and row["least"] == {"micrornn": 1.0, "torch": 3.0}
    assert row["faster"] == {"torch": 2.0}


def test_a_worker_makes_a_case_once_and_counts_its_calls() -> None:
    made, called = [], []

    class Peer:
        @staticmethod
        def model(case: Model) -> Any:
            made.append(case)
            return lambda: called.append(case) or len(called)

    def asked(what: str, **limit: float) -> dict[str, Any]:
        return {"what": what, "case": to_message(TINY), **limit}

    requests = [asked("model", calls=3), asked("model", seconds=0.0), asked("layer", calls=1)]
    first, second, third = worker.answers(Peer, requests)
    assert made == [TINY] and first["values"] == [1, 2, 3]  # from the very first call
    assert len(first["times"]) == len(second["times"]) == 3 and "missing" in third
    assert 0 < first["memory"]["now"] <= first["memory"]["peak"]


def test_a_real_worker_trains_from_the_common_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own; the losses are those of a plain loop over the same windows from the same weights."""
    monkeypatch.setattr(parts, "UPDATES", 3)
    (row,) = parts.models([TINY], 1, 100.0, How(("micrornn",), rounds=1, seconds=0.0))
    text = material.tokens(TINY)
    model = LanguageModel(work.config(TINY), text.vocab.size)
    for name, array in material.weights(TINY, text.vocab.size).items():
        model.flat.parameters[name].data[...] = array
    optimizer, state, losses = Optimizer(model.flat, "adam"), None, []
    for (inputs, targets, fresh), _ in zip(material.batches(TINY, text), range(3)):
        with Tape() as tape:
            logits, last = model(inputs, None if fresh else state)
            loss = cross_entropy(logits, targets=targets)
        model.flat.zero_grad()
        tape.backward(loss)
        optimizer.update(cases.LR, clip_scale(global_norm(model.flat), 1.0))
        state = tuple(Tensor(part.data) for part in last)
        losses.append(loss.item())
    assert row["losses"]["micrornn"] == pytest.approx(losses, rel=1e-5)
    assert row["peak"]["micrornn"] > row["imported"]["micrornn"] > 1e6
    assert row["tokens_per_second"]["micrornn"] == pytest.approx(TINY.tokens / row["median"]["micrornn"])


@pytest.mark.parametrize("level, vocab", [("char", 65), ("word", 500)])
def test_a_made_up_text_has_so_many_tokens(level: str, vocab: int, tmp_path: Path) -> None:
    text = made_tokens(replace(TINY, level=level, vocab=vocab), tmp_path)
    assert text.vocab.size == vocab and len(text) >= 200_000


def test_windows_follow_one_another_and_begin_anew() -> None:
    ids = np.arange(4 * 16 + 1, dtype=np.uint8)
    found = [next_ for next_, _ in zip(material.batches(TINY, ids), range(5))]  # type: ignore[arg-type]
    assert [fresh for _, _, fresh in found] == [True, False, True, False, True]
    (inputs, targets, _), (follows, *_) = found[:2]
    assert inputs.shape == (TINY.steps, TINY.batch)
    assert (targets[:-1] == inputs[1:]).all() and (targets[-1] == follows[0]).all()


def test_a_straight_line_is_found_and_a_bent_one_seen() -> None:
    sizes = [16, 32, 64, 128, 256]
    found = parts.straight(sizes, [3 + 0.5 * n for n in sizes])
    assert found == pytest.approx({"fixed": 3, "each": 0.5, "off": 0}, abs=1e-9)
    assert parts.straight(sizes, [n**1.5 for n in sizes])["off"] > 0.1


def measured() -> dict[str, list[dict[str, Any]]]:
    """Rows of every part, as two peers might give them."""
    times = {"median": {"micrornn": 0.001, "torch": 0.002}, "least": {"micrornn": 0.0009, "torch": 0.0018}}
    common = times | {"faster": {"torch": 2.0}, "threads": 2, "share": 0.5, "gflops": 100.0}
    rates, line = {"micrornn": 2000.0, "torch": 1000.0}, {"fixed": 0, "each": 1, "off": 0.05}
    return {
        "layers": [common | {"case": case.name, "cell": case.cell} for case in LAYERS],
        "models": [common | {"case": "m", "tokens_per_second": rates, "peak": rates, "imported": rates,
                             "apart": {"torch": 2e-3}}],
        "sampling": [common | {"case": "m", "characters_per_second": rates}],
        "start": [{"peer": "micrornn", "cold": cold, "imported": 1.0, "first_update": 2.0} for cold in (True, False)],
        "growth": [
            common | {"along": "lanes", "size": n, "line": dict.fromkeys(rates, line)} for n in (16, 32)
        ],
    }  # fmt: skip


PEERS = ("micrornn", "torch")


def test_tables_have_a_cell_for_each_head() -> None:
    for part, rows in measured().items():
        head, rule = table.head(part, PEERS).split("\n")
        assert all(
            line.count("|") == rule.count("|") == head.count("|") for line in (table.line(part, r, PEERS) for r in rows)
        )
    assert "| 1.000 (0.900) | 2.000 (1.800) | 2.00 | 50 % |" in table.line("layers", measured()["layers"][0], PEERS)


def test_conclusions_tell_means_other_losses_and_how_straight() -> None:
    rows = measured()
    rows["layers"][0]["faster"] = {"torch": 0.5, "jax": 4.0}
    said = table.conclusion("layers", rows["layers"], PEERS)
    mean = math.exp((math.log(0.5) + 32 * math.log(2)) / 33)
    assert said[0] == f"all: geometric mean {mean:.2f}, least 0.50 ({LAYERS[0].name})"
    assert [line.split(":")[0] for line in said] == ["all", "rnn", "gru", "lstm"]
    assert table.conclusion("models", rows["models"], PEERS)[0].startswith("OTHER LOSSES than torch")
    assert "straight within 5 %" in table.conclusion("growth", rows["growth"], PEERS)[0]


def test_the_chart_shows_every_part(tmp_path: Path) -> None:
    chart.draw(measured(), PEERS, tmp_path / "chart.svg")
    picture = (tmp_path / "chart.svg").read_text("utf-8")
    ElementTree.fromstring(picture)
    # glyphs are drawn as paths, each text beside them as a comment
    for words in (
        "layers (batch",
        "tokens per second",
        "characters per second",
        "against lanes",
        "within 5 %",
        "1,50,32,32",
    ):
        assert f"{words}" in picture
    chart.draw({"start": measured()["start"]}, PEERS, tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_every_command_of_the_readme_is_understood() -> None:
    lines = re.findall(
        r"^python -m benchmarks\b([^#\n]*)", (ROOT / "benchmarks" / "README.md").read_text("utf-8"), re.M
    )
    assert len(lines) >= 5
    for line in lines:
        benchmarks.make_context("benchmarks", shlex.split(line))
