"""micrornn bench and what it counts. No test looks at how fast anything is."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from micrornn import kernels
from micrornn.bench import cases, timing
from micrornn.bench.cases import GRID, LAYERS, MODELS, Layer, Model, from_message, gates_of, to_message
from micrornn.config import Config
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn_cli import bench as bench_command
from micrornn_cli import console
from micrornn_cli.exits import Exit

TINY = Model("tiny", "char", 65, 4, 2, 8, 4, 8)


# --- cases ------------------------------------------------------------------------------------------------------


def test_the_cases_are_those_that_were_asked_for() -> None:
    assert len(GRID) == 9 and len(LAYERS) == 3 * 11 == len({case.name for case in LAYERS})
    assert [m.name for m in MODELS] == ["char LSTM 2 x 128", "char LSTM 2 x 512", "word LSTM 2 x 200"]
    assert (MODELS[2].vocab, MODELS[2].batch, MODELS[2].steps) == (10_000, 20, 20)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_operations_are_those_of_the_products(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted product by product on a primitive tape. There, nothing is passed back to the blank initial state."""
    case, plain, counted = Layer(cell, 3, 4, 5, 6), kernels.for_device("reference"), [0]
    multiply = plain.matmul

    def counting(out, a, b, trans_a=False, *rest, **options):
        counted[0] += 2 * out.size * a.shape[0 if trans_a else 1]
        multiply(out, a, b, trans_a, *rest, **options)

    monkeypatch.setattr(plain, "matmul", counting)
    with kernels.use("reference"):
        net = Recurrent(cell, case.input, case.hidden, granularity="primitive")
        x = Tensor(np.ones((case.steps, case.batch, case.input)), requires_grad=True, dtype=np.float32)
        with Tape() as tape:
            y, _ = net(x)
        tape.backward(y, np.ones(y.shape, np.float32))
    assert counted[0] == case.flops - 2 * case.batch * gates_of(cell) * case.hidden**2


def test_a_model_is_its_layers_and_its_decoder() -> None:
    layers = [Layer("lstm", 4, 8, 4, 8), Layer("lstm", 4, 8, 8, 8)]
    assert TINY.flops == sum(layer.flops for layer in layers) + 3 * 2 * TINY.tokens * TINY.hidden * TINY.vocab


@pytest.mark.parametrize("case", [LAYERS[0], TINY])
def test_a_case_survives_being_sent(case: Layer | Model) -> None:
    assert from_message(json.loads(json.dumps(to_message(case)))) == case


def test_what_other_frameworks_read_needs_nothing() -> None:
    """They run where nothing of ours need be installed."""
    code = "import sys, micrornn.bench.cases, micrornn.bench.timing; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "micrornn.bench.timing" in loaded and not loaded & {"numpy", "numba", "llvmlite", "click", "rich"}


# --- timing -----------------------------------------------------------------------------------------------------


def test_times_leaves_out_the_first_call_and_makes_a_few() -> None:
    calls: list[int] = []
    assert len(timing.times(lambda: calls.append(1), 0.0)) == timing.LEAST == len(calls) - 1
    assert timing.summary([3.0, 1.0, 10.0]) == {"median": 3.0, "least": 1.0}


def test_the_peak_of_memory_is_seen_and_stays() -> None:
    before = timing.memory()["peak"]
    size = before + (8 << 20)
    np.ones(size, np.uint8)  # touched, and gone again
    assert timing.memory()["peak"] >= size


# --- micrornn bench -----------------------------------------------------------------------------------------------


def test_bench_counts_and_compares(micrornn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "USUAL", [(2, 3, 4, 5)])
    code, out, _ = micrornn("bench", "--threads", 1, "--seconds", 0.001, "--cell", "gru", "--json")
    found = json.loads(out)
    (layer,), (update,), (drawn,), (start,) = (found[part] for part in ("layers", "training", "sampling", "start"))
    assert code == 0 and layer["case"] == "gru 2,3,4,5"
    for row, flops in ((layer, Layer("gru", 2, 3, 4, 5).flops), (update, None)):
        assert 0 < row["least"] <= row["median"]
        assert row["share"] == pytest.approx(row["gflops"] / row["limit"])
        assert flops is None or row["gflops"] == pytest.approx(flops / row["median"] / 1e9)
    usual = Config()
    assert update["tokens_per_second"] == pytest.approx(usual.batch_size * usual.num_steps / update["median"])
    assert drawn["characters_per_second"] == pytest.approx(cases.LENGTH / drawn["median"])
    assert not start["cold"] and start["seconds"] > 0


def test_bench_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, width=80))
    row = {"threads": 16, "median": 123.456, "least": 99.999, "gflops": 12345.6, "share": 0.999, "limit": 23456.7}
    rates = {"tokens_per_second": 1.23e6, "characters_per_second": 1.23e6}
    for part, case in (
        ("layers", "lstm 128,1000,1024,1024"),
        ("training", "lstm 2 x 1024"),
        ("sampling", "lstm 2 x 9"),
    ):
        bench_command._show(part, [row | rates | {"case": case}] * 2)
    bench_command._show("start", [{"cold": True, "seconds": 61.0}])
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == 5 + 1 + 5 + 5 + 1  # none is folded
    assert any("128" in line and "12346" in line and "100 %" in line for line in lines)


def test_more_threads_than_cores_are_refused(micrornn) -> None:
    code, _, err = micrornn("bench", "--threads", 100_000)
    assert code == Exit.USAGE and "100000" in err


@pytest.mark.parametrize("command", ["warmup", "bench"])
def test_help_has_an_example_and_imports_little(command: str) -> None:
    asked = [sys.executable, "-X", "importtime", "-m", "micrornn_cli", command, "--help"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert f"\n    micrornn {command}" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "click" in imported and not imported & {"numba", "numpy", "rich"}
