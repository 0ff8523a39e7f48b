"""Padding changes nothing: not by its length, not by its side, not by what stands in it; and no gradient reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from micrornn.checks import check_padding
from micrornn.config import Config
from micrornn.data import Padded
from micrornn.errors import ConfigError
from micrornn.gradcheck import gradcheck
from micrornn.ops import binary_cross_entropy, cross_entropy, mean_squared_error
from micrornn.tape import Tape, Tensor
from micrornn.tasks import find
from micrornn.tasks.parts import READS, Features, classes, pooled

LENGTHS = (4, 1, 3)
INPUT, CLASSES = 3, 4


def network(read: str, *, ids: bool = False, loss: Callable[..., Tensor] = cross_entropy, **settings: Any) -> Features:
    config = Config(hidden_size=5, num_layers=2, **settings)
    return Features(config, INPUT, CLASSES, loss, read, embedding=7 if ids else 0)


def batch(read: str, before: int, after: int, junk: Any, ids: bool = False,
          loss: Callable[..., Tensor] = cross_entropy) -> tuple[Padded, np.ndarray]:  # fmt: skip
    """Sequences of LENGTHS, the longest with so many steps of padding before and after it, the others with more."""
    rng, longest = np.random.default_rng(1), max(LENGTHS)
    kind = np.int32 if ids else np.float32
    shape = (before + longest + after, len(LENGTHS))
    values, mask = np.full(shape if ids else (*shape, INPUT), junk, kind), np.zeros(shape, bool)
    labels = loss is cross_entropy
    targets = np.full(shape if labels else (*shape, CLASSES), -100 if labels else np.nan, np.int32 if labels else float)
    for lane, length in enumerate(LENGTHS):
        start = shape[0] - after - length if before else 0  # padded on the left if there is anything before
        part = slice(start, start + length)
        mask[part, lane] = True
        values[part, lane] = rng.integers(0, 7, length) if ids else rng.normal(size=(length, INPUT))
        given = rng.integers(0, CLASSES, length) if labels else rng.random((length, CLASSES))
        targets[part, lane] = given
        if read != "every":
            targets[:, lane] = given[0]
    return Padded(values, mask), targets if read == "every" else np.ascontiguousarray(targets[0])


def gradients(model: Features, inputs: Any, targets: Any) -> tuple[float, dict[str, np.ndarray]]:
    model.flat.zero_grad()
    with Tape() as tape:
        loss, _ = model.loss(inputs, targets)
    tape.backward(loss)
    return loss.item(), {name: p.grad.copy() for name, p in model.flat.parameters.items()}


def alone(model: Features, inputs: Padded, targets: np.ndarray, read: str) -> float:
    """The mean loss of the sequences read one by one, without any padding."""
    total, count = 0.0, 0
    for lane, length in enumerate(LENGTHS):
        keep = inputs.mask[:, lane]
        own = targets[keep][:, lane : lane + 1] if read == "every" else targets[lane : lane + 1]
        weight = length if read == "every" else 1
        total += weight * model.loss(np.ascontiguousarray(inputs.values[keep][:, lane : lane + 1]), own)[0].item()
        count += weight
    return total / count


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both directions"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("read", READS)
def test_padding_of_any_length_on_any_side_changes_nothing(read: str, cell: str, bidirectional: bool) -> None:
    ids = cell == "gru"
    loss = {"gru": cross_entropy, "lstm": binary_cross_entropy, "rnn": mean_squared_error}[cell]
    model = network(read, ids=ids, loss=loss, cell=cell, bidirectional=bidirectional)
    junk = -1 if ids else np.nan
    value, found = gradients(model, *batch(read, 0, 0, junk, ids, loss))
    assert value == pytest.approx(alone(model, *batch(read, 0, 0, junk, ids, loss), read), rel=1e-5)
    for before, after, other in ((0, 3, junk), (2, 0, junk), (1, 4, 10**6)):
        longer, others = gradients(model, *batch(read, before, after, other, ids, loss))
        assert longer == pytest.approx(value, rel=1e-5)
        for name, gradient in found.items():
            np.testing.assert_allclose(others[name], gradient, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("granularity", ["sequence", "primitive"])
@pytest.mark.parametrize("read", READS)
def test_the_gradient_of_a_padded_step_is_exactly_zero(read: str, granularity: str) -> None:
    model = network(read, cell="lstm", bidirectional=True, granularity=granularity)
    padded, targets = batch(read, 2, 3, 0.5)
    x = Tensor(padded.values, requires_grad=True)
    with Tape() as tape:
        loss, _ = model.loss(Padded(x, padded.mask), targets)
    (dx,) = tape.cotangents([x], [loss], [None])
    assert dx is not None and not dx[~padded.mask].any()
    assert np.abs(dx).max(axis=2)[padded.mask].min() > 0 or read == "max"  # what counts has a gradient


def test_a_full_mask_is_as_none_and_lanes_of_padding_do_not_count() -> None:
    for read in READS:
        model = network(read, cell="gru")
        padded, targets = batch(read, 0, 0, 0.0)
        whole = Padded(padded.values, np.ones_like(padded.mask))
        targets = np.abs(targets) % CLASSES
        assert gradients(model, whole, targets)[0] == gradients(model, whole.values, targets)[0]
        wider = Padded(np.concatenate([padded.values, padded.values[:, :2]], axis=1),
                       np.concatenate([padded.mask, np.zeros_like(padded.mask[:, :2])], axis=1))  # fmt: skip
        more = np.concatenate([targets, targets[..., :2]], axis=-1)
        value, found = gradients(model, padded, targets)
        other, others = gradients(model, wider, more)
        assert other == pytest.approx(value, rel=1e-5) and np.isfinite(other)
        for name, gradient in found.items():
            np.testing.assert_allclose(others[name], gradient, rtol=1e-4, atol=1e-6, err_msg=name)


def test_targets_may_say_themselves_which_of_them_count() -> None:
    model = network("every", cell="rnn")
    padded, targets = batch("every", 0, 0, 0.0)
    first = padded.mask & (np.arange(4)[:, None] == 0)
    some, _ = model.loss(padded, Padded(np.where(first, targets, -1), first))
    assert some.item() == pytest.approx(model.loss(padded.values[:1], targets[:1])[0].item(), rel=1e-5)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_gradient_of_pooling(how: str) -> None:
    rng = np.random.default_rng(0)
    y = Tensor(rng.normal(size=(4, 3, 2)), requires_grad=True)
    mask = np.array([[True, False, False], [True, True, False], [False, True, False], [True, False, False]])
    found = gradcheck(lambda: pooled(y, how, mask), [y])
    assert min(check.decimals for check in found) >= 9
    kept = [y.data[mask[:, lane], lane] for lane in range(2)]
    wanted = np.array([getattr(rows, how)(axis=0) for rows in kept])
    np.testing.assert_allclose(pooled(y, how, mask).data[:2], wanted, rtol=1e-12)


def test_a_read_out_that_is_none() -> None:
    with pytest.raises(ConfigError, match="no read-out 'first'; choose one of every, last, mean, max"):
        network("first")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0]])
def test_smoothed_and_weighted_classes(weights: list[float] | None, padded: bool) -> None:
    rng = np.random.default_rng(0)
    logits, targets = Tensor(rng.normal(size=(4, 2, 3)), requires_grad=True), rng.integers(0, 3, (4, 2))
    mask = None
    if padded:
        mask = np.array([[True, True], [True, False], [True, False], [False, False]])
        targets = np.where(mask, targets, -100)
    loss = classes(0.1, weights)
    assert gradcheck(lambda: loss(logits, targets=targets, mask=mask), [logits])[0].decimals >= 9
    kept = np.ones((4, 2), bool) if mask is None else mask
    rows, found = logits.data[kept], targets[kept]
    logs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    wanted = -0.9 * logs[np.arange(len(rows)), found] - 0.1 * logs.mean(axis=1)
    counts = np.ones(len(rows)) if weights is None else np.array(weights)[found]
    assert loss(logits, targets=targets, mask=mask).item() == pytest.approx((wanted * counts).sum() / counts.sum())


class Forgetful(Features):
    """Reads padding as if it counted."""

    def __call__(self, inputs: Any, state: Any = None) -> Any:
        return super().__call__(inputs.values, state)


@pytest.mark.parametrize("read", READS)
def test_gradcheck_sees_padding_that_has_a_part(read: str) -> None:
    """What `gradcheck --task` says of padding is 0 for a network that masks, and is not for one that forgets to."""
    model = network(read, cell="rnn").copy(dtype="float64")
    padded, targets = batch(read, 0, 0, 0.0)
    for inputs in (padded, padded.values):
        steps, more = check_padding(model, inputs, np.abs(targets) % CLASSES)
        assert steps.error == 0 and steps.count > 0 and more.decimals >= 10
    model.__class__ = Forgetful
    steps, more = check_padding(model, padded, np.abs(targets) % CLASSES)
    assert more.error > 1e-6 and (steps.error > 1e-6 or read == "every")  # there the loss forgets nothing


TOPOLOGIES: dict[str, dict[str, Any]] = {  # every task whose sequences are of unequal length
    "tags": {"dropout": 0.0}, "sentiment": {"dropout": 0.0, "read": "mean"},
    "adding": {"shortest": 2, "num_steps": 6, "centred": True}, "parity": {"at": "end", "num_steps": 6},
    "pairs": {"attention": "none", "val_fraction": 0.0}, "dates": {"examples": 20},
    "reversal": {"attention": "additive", "bidirectional": True, "examples": 30},
}  # fmt: skip


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_each_task_learns_the_same_on_whichever_side_it_pads(name: str) -> None:
    """Many to one, in step, encoder and decoder: from the same examples the same loss and the same gradient; and of
    neither has a padded step a part."""
    found = []
    for side in ("right", "left"):
        kind = find(name)
        settings = {"hidden_size": 4, "embedding_size": 3, "batch_size": 5, "dtype": "float64"} | TOPOLOGIES[name]
        task = kind.example(kind.Settings(pad=side, **{k: v for k, v in settings.items() if k not in kind.unused}))
        model = task.network()
        batches = (task.batches.next() for _ in range(task.batches.num_windows))
        inputs, targets = next((i, t) for i, t, _ in batches if not getattr(i, "source", i).mask.all())
        assert getattr(inputs, "source", inputs).mask[-1 if side == "left" else 0].all()
        found.append(gradients(model, inputs, targets))
        steps, more = check_padding(model, inputs, targets)
        assert steps.error == 0 and more.decimals >= 10
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    for parameter, gradient in found[0][1].items():
        np.testing.assert_allclose(found[1][1][parameter], gradient, rtol=1e-9, atol=1e-13, err_msg=parameter)
