"""python -m benchmarks --device cuda: in the simulator where there is no card, and PyTorch's side with a stand-in."""

from __future__ import annotations

import importlib
import math
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import __main__ as command
from benchmarks import card, card_kernels, card_limit, chart, parts, runner, table, worker
from benchmarks.__main__ import main as benchmarks
from benchmarks.clock import Clock, Events
from benchmarks.peers import micrornn_peer
from benchmarks.runner import How, turns
from micrornn import device, kernels
from micrornn.bench import cases, timing
from micrornn.bench.cases import Model, to_message

TINY = Model("tiny", "char", 5, 2, 1, 2, 1, 2)
ON_CARD = card.precisions(("micrornn", "torch"))
NO_CARD = device.available("cuda")
needs_cuda = pytest.mark.skipif(NO_CARD is not None, reason=f"no CUDA: {NO_CARD}")


class Stream:
    """A card that works through its queue when somebody waits, and a call that queues two seconds and takes one."""

    def __init__(self) -> None:
        self.host, self.card, self.said = 0.0, 0.0, []

    def call(self) -> str:
        self.host += 1.0
        self.card = max(self.card, self.host - 1.0) + 2.0
        return "loss"


class Event:
    """As torch.cuda.Event and Numba's events are used."""

    def __init__(self, stream: Stream):
        self.stream, self.at = stream, 0.0

    def record(self, stream: Stream) -> None:
        assert stream is self.stream
        self.at = max(stream.card, stream.host)

    def synchronize(self) -> None:
        self.stream.host = max(self.stream.host, self.at)

    def elapsed_time(self, later: Event) -> float:
        return 1000 * (later.at - self.at)


def test_events_tell_the_time_of_the_card_and_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    monkeypatch.setattr("time.perf_counter", lambda: stream.host)
    clock = Events(lambda: Event(stream), stream)
    assert clock(stream.call) == ("loss", (2.0, 2.0))
    assert clock(lambda: None) == (None, (0.0, 0.0))  # it had waited, so nothing of the first call is left
    assert Clock()(stream.call) == ("loss", (1.0,))  # what a clock of the processor would have said


def test_a_worker_answers_with_both_times() -> None:
    class Twice(Clock):
        kinds = ("times", "wall")

        def __call__(self, run: Any) -> Any:
            return run(), (1.0, 1.5)

    class Peer:
        layer = staticmethod(lambda case: lambda: None)

    requests = [{"what": "layer", "case": "a name", **limit} for limit in ({"calls": 2}, {"seconds": 0.0})]
    first, second = worker.answers(Peer, requests, Twice())
    assert first["times"] == [1.0] * 2 and first["wall"] == [1.5] * 2
    assert second["times"] == [1.0] * timing.LEAST and second["wall"] == [1.5] * timing.LEAST


def test_each_precision_is_compared_with_its_own() -> None:
    assert ON_CARD == ("micrornn", "micrornn tf32", "torch", "torch tf32")
    times = {"micrornn": 2.0, "micrornn tf32": 1.0, "torch": 3.0, "torch tf32": 4.0}

    class Both:
        def __init__(self, peer: str):
            self.peer = peer

        def ask(self, what: str, case: Any, **limit: float) -> dict[str, Any]:
            return {"times": [times[self.peer]], "wall": [times[self.peer] + 1]}

    row = turns([Both(peer) for peer in ON_CARD], "layer", card.LAYERS[0], How(ON_CARD, rounds=1))  # type: ignore[misc]
    assert row["faster"] == {"torch": 1.5, "torch tf32": 4.0} and row["wall"]["torch"] == 4.0
    assert row["faster_wall"] == {"torch": 4 / 3, "torch tf32": 2.5}
    losses = {"micrornn": [1.0], "micrornn tf32": [2.0], "torch": [1.0], "torch tf32": [1.0]}
    assert parts.apart(losses) == {"torch": 0.0, "torch tf32": 1.0}


def on_card(ratio: float) -> dict[str, list[dict[str, Any]]]:
    """Rows of every part, as a card might give them."""
    seconds = dict.fromkeys(ON_CARD, 0.001)
    found = {
        "median": seconds, "least": seconds, "wall": seconds, "threads": 0, "share": 0.5,
        "faster": {"torch": ratio, "torch tf32": 2.0}, "faster_wall": {"torch": 1.1, "torch tf32": 1.2},
    }  # fmt: skip
    rates, line = dict.fromkeys(ON_CARD, 1000.0), {"fixed": 0, "each": 1, "off": 0.05}
    return {
        "layers": [found | {"case": case.name, "cell": case.cell} for case in card.LAYERS],
        "models": [found | {"case": card.TRAINED, "tokens_per_second": rates, "peak": rates, "imported": rates,
                            "apart": {"torch": 1e-5, "torch tf32": 5e-3}}],
        "kernels": [{"case": "add", "seconds": 0.002, "least": 0.001, "moved": 8e9, "operations": 0.0, "share": 0.9,
                     "bound": "bandwidth"}],
        "agree": [{"case": "m", "updates": 200, "apart": 2e-5, "relative": 1e-5, "differ": None}],
        "start": [{"peer": "torch", "cold": False, "imported": 1.0, "first_update": 2.0}],
        "growth": [found | {"along": "lanes", "size": n, "line": dict.fromkeys(ON_CARD, line)} for n in (16, 32)],
    }  # fmt: skip


def test_tables_of_a_card_have_a_cell_for_each_head(tmp_path: Path) -> None:
    rows = on_card(1.5)
    for part in rows:
        head, _ = table.head(part, ON_CARD, "cuda").split("\n")
        assert {table.line(part, row, ON_CARD, "cuda").count("|") for row in rows[part]} == {head.count("|")}
    words = table.line("layers", rows["layers"][0], ON_CARD, "cuda")
    assert words.endswith("| 1.000 (1.000); 1.000 | 1.50; 1.10 | 2.00; 1.20 | 50 % |")
    assert "| 4,000 | 0 | 90 % | bandwidth |" in table.line("kernels", rows["kernels"][0], ON_CARD, "cuda")
    chart.draw(rows, ON_CARD, tmp_path / "chart.svg")
    assert "lstm, tf32" in (tmp_path / "chart.svg").read_text("utf-8")


def test_goals_are_reached_or_not() -> None:
    def said(ratio: float) -> str:
        rows = on_card(ratio)
        return "\n".join(line for part in rows for line in table.conclusion(part, rows[part], ON_CARD, "cuda"))

    good = said(1.5)
    assert good.count(": reached") == 3 and "NOT" not in good
    assert "lstm, float32, against torch: geometric mean 1.50, least 1.50" in good
    assert "lstm, tf32, against torch: geometric mean 2.00, least 2.00" in good
    assert said(1.1).count("NOT REACHED") == 2 and said(0.4).count("NOT REACHED") == 3
    few = [row for row in on_card(1.5)["layers"] if row["case"] == "lstm 8,50,64,64"]
    assert card.layer_goals(few)[-1].endswith("reached, of only 1 of 12 shapes")
    assert card.layer_goals([row | {"faster": {}} for row in few]) == []
    row = on_card(1.5)["agree"][0]
    assert "NOT AS WANTED" in card.agreement(row | {"apart": 1e-4})
    assert "NOT AS WANTED" in card.agreement(row | {"apart": math.nan})
    assert "OTHER BITS from update 3 on" in card.agreement(row | {"differ": 3})


def test_every_kernel_is_measured_and_what_it_moves_is_counted() -> None:
    for tiny in (True, False):
        calls = {call.name: call for call in card_kernels.calls(tiny)}
        assert {call.kernel for call in calls.values()} == set(kernels.NAMES)
        assert len(calls) == len(card_kernels.calls(tiny))  # asked for by name
    numbers = 4 * 2**27
    assert [calls[name].moved / numbers for name in ("fill", "add", "accumulate", "adam")] == [1, 3, 3, 7]
    assert calls["matmul 1024,1024,1024"].operations == 2 * 1024**3
    assert calls["cell_sequence lstm 32,50,128,128"].operations == cases.Layer("lstm", 32, 50, 128, 128).flops / 3
    assert calls["gather 200000 of 65,128"].moved == 4 * (200_000 * 128 + 65 * 128 + 200_000)


@needs_cuda
def test_kernels_and_limits_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_kernels, "QUEUED", 1)
    for call in card_kernels.calls(tiny=True):
        card_kernels.prepared(call)()
    found = card_limit.limits(Clock())
    assert found["bytes_per_second"] > 0 and found["gflops"] > 0


@needs_cuda
def test_the_command_on_a_card_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With workers that live in this process: starting one takes seconds."""

    class Here(runner.Worker):
        def __init__(self, peer: str, *_: Any, **where: Any):
            self.peer, self.version, self.memory, self.started = peer, "0", 0, 0.0
            self.clock = micrornn_peer.place(where["device"], runner.precision(peer))

        def ask(self, what: str, case: Any, **limit: float) -> dict[str, Any]:
            micrornn_peer.place("cuda", runner.precision(self.peer))
            message = case if case is None or isinstance(case, str) else to_message(case)
            return next(worker.answers(micrornn_peer, [{"what": what, "case": message, **limit}], self.clock))

        def close(self) -> None:
            pass

    for module in (runner, command):
        monkeypatch.setattr(module, "Worker", Here)
    monkeypatch.setattr(micrornn_peer, "where", dict(micrornn_peer.where))
    monkeypatch.setattr(timing, "LEAST", 1)
    try:
        words = "--device cuda --peer none --rounds 1 --seconds 0 --cell rnn --case 1,1,1,1 --case exp "
        done = CliRunner().invoke(benchmarks, shlex.split(words + "--layers --kernels --sampling"))
    finally:
        kernels.set_matmul_precision("cuda", "float32")
    assert done.exit_code == 0, done.output
    assert re.search(r"^\| rnn 1,1,1,1 \| [0-9.]+ \([0-9.]+\).* \| [0-9.]+ \(.* \| \d+ % \|$", done.output, re.M)
    assert re.search(r"^\| exp \| .* % \| bandwidth \|$", done.output, re.M)
    assert "--sampling is left out: it is measured on the processor" in done.output
    assert re.search(r"^card: .*GB/s \(read and written\), FMA limit [\d,]+ GFLOP/s$", done.output, re.M)
    assert ("(the simulator: its times mean nothing)" in done.output) == device.card()["simulator"]


@needs_cuda
def test_the_card_trains_as_the_processor_does() -> None:
    """In processes of their own, as they are measured."""
    (row,) = parts.agree(TINY, How(("micrornn",), device="cuda"), updates=2)
    assert row["apart"] < card.AGREE_WITHIN and row["differ"] is None
    assert len(row["losses"]["cuda"]) == 2 and row["losses"]["cuda"][0] != row["losses"]["cuda"][1]


def test_training_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([[(2.0, "a"), (1.0, "b")], [(2.0, "c"), (1.5, "d")], [(2.0, "c"), (1.5, "e")]])

    class Told:
        def __init__(self, *_: Any, **__: Any):
            pass

        def ask(self, what: str, case: Any, **limit: float) -> dict[str, Any]:
            return {"values": next(values)}

        def close(self) -> None:
            pass

    monkeypatch.setattr(runner, "Worker", Told)
    (row,) = parts.agree(TINY, How(("micrornn",), device="cuda"), updates=2)
    assert row["apart"] == row["relative"] == 0.5 and row["differ"] == 2


def test_wrong_use_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: str) -> tuple[int, str]:
        done = CliRunner().invoke(benchmarks, shlex.split(words))
        return done.exit_code, done.output.splitlines()[-1]

    assert run("--device cuda --peer jax")[0] == 2
    monkeypatch.setattr(device, "available", lambda name: "it is not there")
    assert run("--device cuda") == (5, "Error: device cuda: it is not there")


def test_pytorch_is_told_where_and_how_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for PyTorch, which the tests do without."""
    there = SimpleNamespace(is_available=lambda: True)
    torch = ModuleType("torch")
    torch.__version__, torch.nn, torch.device = "0", ModuleType("nn"), str  # type: ignore[attr-defined]
    torch.backends = SimpleNamespace(  # type: ignore[attr-defined]
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=None)), cudnn=there
    )
    torch.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        is_available=lambda: True, Event=lambda enable_timing: ("event", enable_timing), current_stream=lambda: "stream"
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.torch_peer", raising=False)
    peer = importlib.import_module("benchmarks.peers.torch_peer")
    try:
        assert type(peer.place("cpu", "float32")) is Clock and peer.where == "cpu"
        for kind in ("tf32", "float32"):
            clock = peer.place("cuda", kind)
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is (kind == "tf32")
        assert (clock.first, clock.last, clock.stream) == (("event", True), ("event", True), "stream")
        assert peer.where == "cuda"
        torch.cuda.is_available = lambda: False
        with pytest.raises(RuntimeError, match="sees no graphics card"):
            peer.place("cuda", "float32")
    finally:
        sys.modules.pop("benchmarks.peers.torch_peer")
