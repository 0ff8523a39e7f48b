"""The weights of a model of one's own in a file, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import micrornn as mr
from micrornn import checkpoint
from micrornn.errors import CheckpointError, ConfigError, MicrornnError


class Net(mr.Module):
    def __init__(self, hidden_size: int = 4, seed: int = 0, dtype: type = np.float32, **more: Any):
        self.rnn = mr.LSTM(2, hidden_size, seed=seed, dtype=dtype)
        self.file = mr.Linear(hidden_size, 1, seed=seed, dtype=dtype)  # a name that np.savez does not take
        vars(self).update(more)


def values(model: Any) -> dict[str, np.ndarray]:
    return {name: p.data.copy() for name, p in model.parameters().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_weights_come_back_into_the_flat_buffer(tmp_path: Path) -> None:
    old, new = Net(seed=1), Net(seed=2)
    flat, versions = mr.Flat(new), [p.version for p in new.parameters().values()]
    mr.save_weights(old, tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]  # that name, and nothing beside it
    assert same(dict(np.load(tmp_path / "model", allow_pickle=False)), values(old))
    mr.load_weights(new, tmp_path / "model")
    assert same(values(new), values(old))
    flat.join()
    assert np.array_equal(flat.data, np.concatenate([p.data.ravel() for p in old.parameters().values()]))
    assert all(p.version > before for p, before in zip(new.parameters().values(), versions))


def test_precision_stays_the_models_own_and_a_list_is_a_model(tmp_path: Path) -> None:
    mr.save_weights([mr.Linear(2, 3, dtype=np.float64, seed=0), mr.Embedding(5, 2, seed=0)], tmp_path / "two.npz")
    one, two = mr.Linear(2, 3, seed=7), mr.Embedding(5, 2, seed=7, dtype=np.float64)
    mr.load_weights([one, two], tmp_path / "two.npz")
    assert one.weight.dtype == np.float32 and two.weight.dtype == np.float64
    assert np.allclose(one.weight.data, mr.Linear(2, 3, seed=0).weight.data, atol=1e-7)
    assert np.array_equal(two.weight.data, mr.Embedding(5, 2, seed=0).weight.data)


def test_weights_of_another_model_or_library() -> None:
    old, new = Net(seed=1), Net(seed=2)
    mr.load_weights(new, old.parameters())
    assert same(values(new), values(old))
    mr.load_weights(new, {name: np.zeros(p.shape).tolist() for name, p in new.parameters().items()})
    assert not any(x.any() for x in values(new).values())


GOOD = {"weight": np.ones((2, 3)), "bias": np.zeros(2)}
WRONG = {
    "lacks one": ({"weight": GOOD["weight"]}, r"there is no bias \(2,\) in it"),
    "another name": ({"weight": GOOD["weight"], "bias_": GOOD["bias"]}, "there is no bias .*it has bias_"),
    "one too many": (GOOD | {"more": np.ones(1)}, "'more' is no parameter of the model"),
    "turned": (GOOD | {"weight": np.ones((3, 2))}, r"weight is \(3, 2\), and in the model \(2, 3\)"),
    "too large": (GOOD | {"bias": np.full(2, 1e300)}, "bias holds a number that is too large for float32"),
    "complex": (GOOD | {"bias": np.ones(2, complex)}, "bias: wanted real numbers"),
}


@pytest.mark.parametrize(("arrays", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("way", ["file", "arrays"])
def test_weights_that_do_not_fit_change_nothing(arrays: dict[str, Any], message: str, way: str, tmp_path: Path) -> None:
    model, source = mr.Linear(3, 2), tmp_path / "x.npz" if way == "file" else arrays
    np.savez(tmp_path / "x.npz", **arrays)
    before = values(model)
    with pytest.raises(MicrornnError, match=message) as caught:
        mr.load_weights(model, source)
    assert same(values(model), before)
    assert str(caught.value).startswith(str(source) if way == "file" else "load_weights")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    model, path = mr.Linear(3, 2), tmp_path / "x.npz"
    mr.save_weights(model, path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:-30], whole.replace(b"descr", b"descs"), whole[:150] + b"?" + whole[151:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x\.npz: damaged, or not a file of save_weights"):
            mr.load_weights(model, path)
    np.savez(path, weight=np.array([None, "code"], object), bias=np.zeros(2))
    with pytest.raises(CheckpointError, match="Python objects"):
        mr.load_weights(model, path)
    np.savez_compressed(path, **GOOD)
    with pytest.raises(CheckpointError, match="compressed"):
        mr.load_weights(model, path)
    checkpoint.save(path, GOOD, {})
    with pytest.raises(CheckpointError, match=r"a checkpoint of a training.*mr\.load reads it"):
        mr.load_weights(model, path)
    for missing in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(CheckpointError, match="could not be read"):
            mr.load_weights(model, missing)
    mr.save_weights(model, path)
    with pytest.raises(CheckpointError, match="not a micrornn checkpoint; weights alone are for load_weights"):
        mr.load(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    mr.save_weights(mr.Linear(3, 2), path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="Make the folder first"):
        mr.save_weights(mr.Linear(3, 2), tmp_path / "none" / "x.npz")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"What was there before is untouched\. Free some space"):
        mr.save_weights(mr.Linear(3, 2, seed=1), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("model", [3, {}, [], mr.Dropout(0.5), "x.npz"], ids=str)
def test_what_has_no_parameters(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wanted a Module with parameters"):
        mr.save_weights(model, tmp_path / "x.npz")
    with pytest.raises(ConfigError, match="wanted a Module with parameters"):
        mr.load_weights(model, tmp_path / "x.npz")


def test_the_short_names_are_told() -> None:
    with pytest.raises(AttributeError, match=r"there is mr\.save_weights"):
        mr.save  # noqa: B018
