"""Sequences of unequal length: nothing is lost in padding, and the place in the batches is exact."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrornn.data.sequences import ByLength, cut, hold_out, pad
from micrornn.errors import ConfigError, DataError

settings.register_profile("sequences", deadline=None, max_examples=60)
settings.load_profile("sequences")

lists = st.lists(st.lists(st.integers(-9, 99), max_size=12), min_size=1, max_size=8)


@given(sequences=lists, side=st.sampled_from(["left", "right"]), max_len=st.sampled_from([None, 0, 1, 3, 50]),
       keep=st.sampled_from(["first", "last"]), features=st.integers(0, 2))  # fmt: skip
def test_what_is_padded_comes_out_again(sequences: list[list[int]], side: str, max_len: int | None, keep: str,
                                        features: int) -> None:  # fmt: skip
    given = [np.array(s, np.int32) for s in sequences]
    given = [np.stack([s] * features, axis=1) for s in given] if features else given
    values, mask = pad(given, side, max_len, keep)
    longest = max(min(len(s), max_len or 99) for s in sequences)
    assert values.shape == (max(1, longest), len(sequences), *([features] if features else []))
    assert mask.shape == values.shape[:2] and values.dtype == np.int32 and mask.dtype == bool
    assert not values[~mask].any()
    for lane, sequence in enumerate(given):
        kept = sequence if not max_len else sequence[:max_len] if keep == "first" else sequence[-max_len:]
        assert np.array_equal(values[mask[:, lane], lane], kept) and np.array_equal(cut(sequence, max_len, keep), kept)
        steps = np.flatnonzero(mask[:, lane])
        assert len(steps) == 0 or steps[-1] - steps[0] == len(steps) - 1
        assert len(steps) == 0 or (steps[0] == 0 if side == "right" else steps[-1] == len(mask) - 1)


def made(lengths: list[int], batch_size: int, **given: Any) -> ByLength:
    return ByLength(lengths, lambda chosen: (chosen, chosen), batch_size, **given)


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60), batch_size=st.integers(1, 9),
       seed=st.integers(0, 9), shuffle=st.booleans(), stop=st.integers(0, 200))  # fmt: skip
def test_each_sequence_once_an_epoch_and_the_place_is_exact(lengths: list[int], batch_size: int, seed: int,
                                                            shuffle: bool, stop: int) -> None:  # fmt: skip
    batches = made(lengths, batch_size, seed=seed, shuffle=shuffle)
    seen: list[np.ndarray] = []
    places = []
    for _ in range(3 * batches.num_windows):
        places.append((batches.epoch, batches.window))
        inputs, _, state = batches.next()
        batches.carry(())
        assert state is None and batches.state is None and len(inputs) <= batch_size
        seen.append(inputs)
    for epoch in range(3):
        part = seen[epoch * batches.num_windows : (epoch + 1) * batches.num_windows]
        assert np.array_equal(np.sort(np.concatenate(part)), np.arange(len(lengths)))
        assert sum(len(chosen) < batch_size for chosen in part) <= 1
        assert shuffle or all(np.array_equal(a, b) for a, b in zip(part, seen))
    stop %= len(places)
    again = made(lengths, batch_size, seed=seed, shuffle=shuffle)
    again.epoch, again.window = places[stop]  # as a checkpoint has it
    for chosen in seen[stop:]:
        assert np.array_equal(again.next()[0], chosen)
    assert (again.epoch, again.window) == (batches.epoch, batches.window)


def test_batches_hold_similar_lengths_and_other_ones_each_epoch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, 640)
    batches = made(list(lengths), 16, seed=3)
    together = []
    for _ in range(2):
        epoch = [batches.next()[0] for _ in range(batches.num_windows)]
        longest = np.array([lengths[chosen].max() for chosen in epoch])
        padding = sum(16 * most for most in longest) - lengths.sum()
        assert padding < 0.12 * lengths.sum()  # about as much again as the text, in batches at random
        assert np.corrcoef(longest, np.arange(len(longest)))[0, 1] < 0.5  # short and long ones mixed
        together.append({tuple(sorted(chosen)) for chosen in epoch})
    assert len(together[0] & together[1]) < 4
    fixed = made(list(lengths), 16, seed=3, epoch=7)
    first = [fixed.next()[0] for _ in range(fixed.num_windows)]
    assert all(np.array_equal(chosen, fixed.next()[0]) for chosen in first)


@pytest.mark.parametrize("counts", [None, [1] * 7])
def test_weights_make_the_mean_of_batches_the_mean_of_all(counts: list[int] | None) -> None:
    lengths, loss = [1, 2, 3, 5, 8, 13, 21], np.arange(7.0) ** 2
    of = np.array(counts or lengths)
    batches = made(lengths, 3, seed=1, counts=counts)
    total = 0.0
    for _ in range(batches.num_windows):
        chosen = batches.next()[0]
        total += batches.weight * (loss[chosen] * of[chosen]).sum() / of[chosen].sum()
    assert total / batches.num_windows == pytest.approx((loss * of).sum() / of.sum())


@given(count=st.integers(1, 300), fraction=st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.99]), seed=st.integers(0, 5))
def test_what_is_held_out(count: int, fraction: float, seed: int) -> None:
    if count == 1 and fraction:
        with pytest.raises(DataError, match="1 sequence, and nothing can be held out"):
            hold_out(count, fraction, seed)
        return
    train, held_out = hold_out(count, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(count))
    assert len(held_out) == 0 if not fraction else 1 <= len(held_out) < count
    assert abs(len(held_out) - count * fraction) <= 1
    assert np.array_equal(held_out, hold_out(count, fraction, seed)[1])
    if count < 20:
        return
    labels = [{int(np.log(1 + n) * 3), *([-1] if n % 3 else [])} for n in range(count)]  # of very unequal frequency
    train, held_out = hold_out(count, fraction, seed, labels)
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(count))
    times = Counter(label for of in labels for label in of)
    assert {label for n in train for label in labels[n]} == set(times)  # nothing is judged that could not be learned
    there = Counter(label for n in held_out for label in labels[n])
    assert all(there[label] >= (count > 1 and fraction > 0) for label, count in times.items() if label >= 0)
    for label, count in times.items():
        assert label < 0 or not fraction or abs(there[label] - min(max(1, count * fraction), count - 1)) <= 1


def test_rare_classes_are_on_both_sides_where_they_can_be() -> None:
    labels = [["often"]] * 200 + [["rare"]] * 2 + [["once"]]
    for seed in range(20):
        train, held_out = hold_out(len(labels), 0.1, seed, labels)
        assert Counter(labels[n][0] for n in held_out) == {"often": 20, "rare": 1} and 202 in train
    with pytest.raises(DataError, match="each label comes in one sequence alone; give more, or `val_fraction=0`"):
        hold_out(2, 0.5, 0, [["a"], ["b"]])


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: pad([[1]], side="top"), ConfigError, "pad: side is 'top'; choose one of left, right"),
        (lambda: pad([[1]], keep="best"), ConfigError, "pad: keep is 'best'; choose one of first, last"),
        (lambda: pad([]), DataError, "pad: there is no sequence"),
        (lambda: pad([[[1, 2]], [[1]]]), DataError, r"pad: sequences of \(1,\) and \(2,\) numbers a time step"),
        (lambda: pad([1, 2]), DataError, "pad: sequence 1 is no sequence"),
        (lambda: made([], 2, seed=0), DataError, "there is no sequence to make batches of"),
        (lambda: made([1], 0, seed=0), ConfigError, "batch_size is 0, expected at least 1"),
    ],
)
def test_what_is_refused(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()
