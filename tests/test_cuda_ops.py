"""The same tape on a graphics card, or in Numba's simulator: every op, every cell, whole training runs."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn
from op_rows import MASKED, MASKED_LOSSES, ROWS, calls

from micrornn import device, kernels, ops
from micrornn.checkpoint import load
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError, DivergedError, TapeError
from micrornn.gradcheck import projected
from micrornn.inspect.recorded import record
from micrornn.layers import Linear
from micrornn.optim import Optimizer
from micrornn.parameters import Flat, Parameter
from micrornn.recurrent import GRANULARITIES, Recurrent
from micrornn.runs import load_run
from micrornn.sampling import sample
from micrornn.tape import OPS, Tape, Tensor
from micrornn.train import Training, run

reason = device.available("cuda")
pytestmark = pytest.mark.skipif(bool(reason), reason=f"{reason} (NUMBA_ENABLE_CUDASIM=1 simulates one)")

# Of the rows in op_rows.py, so many calls each: the simulator runs every thread of a card as one of Python's.
CALLS = 3


def there(tensors: list[Tensor]) -> list[Tensor]:
    """The same on the card."""
    table = kernels.for_device("cuda")
    return [Tensor(table.asarray(x.data), x.requires_grad, x.name) for x in tensors]


def run_op(name: str, tensors: list[Tensor], options: dict[str, Any]) -> list[np.ndarray]:
    """Its outputs and, for a fixed seed, the cotangents of its inputs."""
    with Tape() as tape:
        y = OPS[name](*tensors, **options)
    outputs = list(y) if isinstance(y, tuple) else [y]
    rng = np.random.default_rng(0)
    cotangents = tape.cotangents(tensors, outputs, [rng.uniform(0.5, 1.5, part.shape) for part in outputs])
    assert {device.of(array) for array in [*(part.data for part in outputs), *cotangents] if array is not None} == {
        device.of(tensors[0].data)
    }
    return [device.host(part.data) for part in outputs] + [device.host(g) for g in cotangents if g is not None]


@pytest.mark.parametrize("name", ROWS)
def test_op_gives_the_numbers_of_the_cpu(name: str) -> None:
    few = calls(name)
    for tensors, options, _ in few[:: max(1, len(few) // CALLS)]:
        ours, cpu = run_op(name, there(tensors), options), run_op(name, tensors, options)
        for got, wanted in zip(ours, cpu, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12, err_msg=str(options))


@pytest.mark.parametrize("name", ROWS)
def test_gradient_is_the_numeric_one(name: str) -> None:
    """Along one random direction: the numbers one by one are those of the CPU, which the test above has seen."""
    tensors, options, _ = calls(name)[0]
    tensors = there(tensors)

    def every() -> Tensor:
        y = OPS[name](*tensors, **options)
        return ops.concatenate(*[ops.reshape(part, shape=(-1,)) for part in y]) if isinstance(y, tuple) else y

    assert projected(every, tensors).error < 1e-9


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_granularity_gives_the_numbers_of_the_cpu(granularity: str) -> None:
    """Two layers, both directions, lanes of different lengths, messages clipped."""
    rng, found = np.random.default_rng(1), []
    x, dy = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 8))
    for where in ("cuda", "cpu"):
        model = Recurrent("lstm", 3, 4, 2, True, granularity=granularity, clip_message=0.5, dtype=np.float64, seed=0)
        model.to(where)
        leaves = {**model.parameters(), "x": Tensor(kernels.for_device(where).asarray(x), True)}
        with Tape() as tape:
            y, last = model(leaves["x"], lengths=[3, 2])
        gradients = tape.cotangents(
            [*leaves.values()], [y, last[0]], [dy, None if last[0].data.size == 1 else np.ones(last[0].shape)]
        )
        found.append([device.host(array) for array in (y.data, last[0].data, *gradients)])
    for ours, cpu in zip(*found, strict=True):
        np.testing.assert_allclose(ours, cpu, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("granularity", ["primitive", "sequence"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_what_is_masked_is_never_looked_at(cell: str, granularity: str) -> None:
    model, found = Recurrent(cell, 2, 3, granularity=granularity, seed=0), []
    model.to("cuda")
    for there in (0.5, np.nan):
        numbers, dy = np.ones((2, 3, 2), np.float32), np.ones((2, 3, 3), np.float32)
        numbers[1, 0] = numbers[:, 2] = there
        dy[1, 0] = 0 if there == 0.5 else there
        x = Tensor(kernels.for_device("cuda").asarray(numbers), True)
        with Tape() as tape:
            y, _ = model(x, mask=[[True, True, False], [False, True, False]])
        gradients = tape.cotangents([x, *model.weights.values()], [y], [dy])
        found.append([device.host(array) for array in (y.data, *gradients)])
    for nan, plain in zip(*found, strict=True):
        assert np.isfinite(nan).all() and (nan == plain).all()


@pytest.mark.parametrize("name", MASKED_LOSSES)
def test_what_is_masked_in_a_loss_is_never_looked_at(name: str) -> None:
    shapes, targets, odd = MASKED_LOSSES[name]
    inputs = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    inputs[0][~MASKED], targets = np.nan, np.where(MASKED, targets, odd[0])
    loss, *gradients = run_op(name, there([Tensor(x, True) for x in inputs]), {"targets": targets, "mask": MASKED})
    assert np.isfinite(loss) and all(np.isfinite(array).all() for array in gradients)
    assert not gradients[0][~MASKED].any() and gradients[0][MASKED].all()


def test_inputs_on_two_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match="on the same device, not cuda, cpu"):
        there([Tensor([1.0])])[0] + Tensor([1.0])


def test_a_flat_buffer_moves_with_its_parameters() -> None:
    parameter = Parameter([[1.0, 2.0], [3.0, 4.0]])
    parameter.data = kernels.for_device("cuda").asarray(parameter.data)
    flat = Flat({"p": parameter})
    flat.data[1:3] = 7
    assert parameter.data.get().tolist() == [[1, 7], [7, 4]]


def test_writes_on_the_card_are_noticed_and_what_was_cut_off_comes_back() -> None:
    net = Linear(2, 1)
    net.to("cuda")
    flat = Flat(net)
    optimizer = Optimizer(flat, "sgd")
    with Tape() as tape:
        loss = (net(net.weight) ** 2).sum()
    tape.backward(loss)
    tape.backward(loss)
    net.weight.data[...] = 2.0
    with pytest.raises(TapeError, match="weight"):
        tape.backward(loss)
    net.weight.grad = None
    optimizer.update(0.5)
    assert net.weight.data.get().tolist() == [[2, 2]], "no gradient, no change"
    other = copy.deepcopy(flat)
    other.data = 5.0
    assert device.of(other.data) == "cuda" and other.parameters["weight"].data.get().tolist() == [[5, 5]]
    assert net.weight.data.get().tolist() == [[2, 2]] and f"{loss:.0f}" and (loss == loss.item()).all()


# --- training ------------------------------------------------------------------------------------------------


TINY = {"hidden_size": 4, "embedding_size": 3, "num_layers": 1, "batch_size": 2, "num_steps": 4, "num_updates": 4}


@pytest.fixture
def training(tmp_path: Path) -> Callable[..., Training]:
    (tmp_path / "text.txt").write_text("the quick brown fox. " * 8)
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    return lambda **settings: Training(Config(**(TINY | settings)), tokens)


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm", "num_layers": 2, "dropout": 0.3, "clip_norm": 0.1, "optimizer": "adamw"},
        {"cell": "gru", "granularity": "cell", "clip_value": 0.01, "optimizer": "rmsprop"},
        {"cell": "rnn_relu", "granularity": "primitive", "loss": "sum", "optimizer": "adagrad"},
    ],
)
def test_training_follows_the_cpu(settings: dict[str, Any], training: Callable) -> None:
    here, there = training(**settings), training(**settings, device="cuda")
    for _ in range(2):
        assert there.update().loss == pytest.approx(here.update().loss, rel=1e-5)
    assert there.validate() == pytest.approx(here.validate(), rel=1e-5)
    assert there.snapshot()[0].keys() == here.snapshot()[0].keys()


def test_the_same_run_gives_the_same_bits_watched_or_not(training: Callable) -> None:
    """And what is watched is what the CPU sees."""
    rows, states = [], []
    for where, every in (("cuda", 1), ("cpu", 1), ("cuda", 0)):
        one = training(device=where)
        one.watch(every)
        losses = [one.update().loss for _ in range(2)]
        states.append([*losses, *device.host(one.model.flat.data)])
        rows.append(one.pending.gradients)
    assert states[0] == states[2]
    for layer, norms in rows[1]["layers"].items():
        for name, values in norms.items():
            np.testing.assert_allclose(rows[0]["layers"][layer][name], values, rtol=2e-3, atol=1e-6)


def test_a_checkpoint_moves_between_devices(training: Callable) -> None:
    """An update there, one here, and one there again: the losses of a run that stayed."""
    stayed = training()
    wanted, losses, snapshot = [stayed.update().loss for _ in range(3)], [], None
    for where in ("cuda", "cpu", "cuda"):
        moved = training(device=where)
        if snapshot is not None:
            moved.restore(*snapshot)
        losses.append(moved.update().loss)
        snapshot = moved.snapshot()
        assert all(isinstance(array, np.ndarray) for array in snapshot[0].values())
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)


@pytest.mark.parametrize("backprop", ["rtrl", "snap1", "uoro"])
def test_a_forward_way_follows_the_cpu(backprop: str, training: Callable) -> None:
    """With dropout, and with what it keeps handed over to the other device after two updates."""
    sizes = {"cell": "rnn", "hidden_size": 2, "embedding_size": 2, "num_steps": 2, "dropout": 0.3}
    here, there = (training(**sizes, backprop=backprop, device=where) for where in ("cpu", "cuda"))
    for _ in range(2):
        assert there.update().loss == pytest.approx(here.update().loss, rel=1e-5)
    kept, wanted = ({k: v for k, v in one.snapshot()[0].items() if "backprop" in k} for one in (there, here))
    assert kept and kept.keys() == wanted.keys()
    for name, array in kept.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-3, atol=1e-6)
    here.restore(*there.snapshot())
    assert here.update().loss == pytest.approx(there.update().loss, rel=1e-5)


def test_what_blows_up_is_named(training: Callable) -> None:
    one = training(device="cuda")
    one.model.flat.data[-1] = np.inf
    with pytest.raises(DivergedError, match="first to blow up: "):
        list(run(one))


def test_nothing_is_copied_there_once_the_kernels_run(training: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy waits for all that is queued before it: so all of an update's go first."""
    table, order = kernels.for_device("cuda"), []

    def told(name: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            if name != "copy" or (isinstance(arguments[0], np.ndarray) and arguments[0].size):
                order.append(name)
            return function(*arguments, **options)

        return call

    one = training(device="cuda", clip_norm=1.0)
    one.update()
    for name, function in {"copy": "asarray", "forward": "cell_sequence", "backward": "cell_sequence_vjp"}.items():
        monkeypatch.setattr(table, function, told(name, getattr(table, function)))
    one.update()
    assert order == ["copy", "copy", "forward", "backward"]


def test_what_the_processor_does_with_a_model_on_the_card(training: Callable) -> None:
    one = training(device="cuda")
    there, here = one.model, one.model.copy(device="cpu")
    assert list(sample(there, one.task.vocab, length=5)) == list(sample(here, one.task.vocab, length=5))
    with pytest.raises(ConfigError, match=r"model\.copy\(device='cpu'\)"):
        record(there, one.batches.next())


def test_an_array_is_not_indexed_by_arrays() -> None:
    x = kernels.for_device("cuda").zeros((3, 4), np.float32)
    for index in ([0, 1], np.array([0, 1]), np.ones(3, bool), (slice(None), [1, 2])):
        with pytest.raises(TypeError, match="integers and slices"):
            x[index]


def test_from_the_command_line(micrornn: Micrornn, tmp_path: Path) -> None:
    """Train there, inspect it, go on here."""
    (tmp_path / "text.txt").write_text("the quick brown fox. " * 8)
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    code, out, err = micrornn("train", "text.txt", *sizes, "--num-updates=2", "--device=cuda", "--out=run", "--json")
    assert code == 0, err
    losses = [json.loads(line)["loss"] for line in out.splitlines() if '"loss"' in line]
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
    assert load(tmp_path / "run" / "last.ckpt")[1]["config"]["device"] == "cuda"
    assert device.of(load_run(tmp_path / "run")[0].flat.data) == "cpu"
    code, out, err = micrornn("inspect", "flow", "run", "--json")
    assert code == 0 and json.loads(out), err
    code, _, err = micrornn("train", "--resume", "run", "--num-updates", "3", "--matmul-precision", "tf32", "--json")
    kernels.set_matmul_precision("cuda", "float32")  # it is the device's, not the run's
    assert code == 0, err
    code, _, err = micrornn("train", "--resume", "run", "--num-updates", "4", "--device", "cpu", "--json")
    assert code == 0, err
    assert load(tmp_path / "run" / "last.ckpt")[1]["updates"] == 4


def test_settings_of_the_card_alone_are_refused_elsewhere(training: Callable) -> None:
    with pytest.raises(ConfigError, match="matmul_precision"):
        training(matmul_precision="tf32")
    assert dataclasses.asdict(Config())["matmul_precision"] == "float32"
