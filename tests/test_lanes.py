"""Lanes and what is held out: every token has its place, and none is learned from and judged by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micrornn.data.text
from micrornn.data import (
    Lanes,
    split,
)
from micrornn.errors import DataError

settings.register_profile("data", deadline=None, max_examples=80)
settings.load_profile("data")

sizes = st.integers(1, 9)


@given(num_tokens=st.integers(2, 400), batch_size=sizes, num_steps=sizes, block_bytes=st.integers(1, 300))
def test_lanes_are_the_corpus(num_tokens: int, batch_size: int, num_steps: int, block_bytes: int) -> None:
    corpus = np.arange(num_tokens, dtype=np.uint16)
    if num_tokens < batch_size * num_steps + 1:
        with pytest.raises(DataError, match="training part has"):
            Lanes(corpus, batch_size, num_steps)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(micrornn.data.text, "BLOCK_BYTES", block_bytes)
        lanes = Lanes(corpus, batch_size, num_steps)
    windows = [lanes.window(w) for w in range(lanes.num_windows)]

    for inputs, targets in windows:
        assert inputs.shape == targets.shape == (num_steps, batch_size)
        assert inputs.dtype == targets.dtype == np.int32
        assert inputs.flags.c_contiguous and targets.flags.c_contiguous
        assert (targets == inputs + 1).all()  # the corpus counts up, so the next token is one more
    # Window after window, each lane is an unbroken piece of the corpus, and the lanes follow each other.
    whole = np.concatenate([inputs for inputs, _ in windows])
    used = lanes.num_windows * num_steps
    assert used <= lanes.lane_len < used + num_steps
    first = np.arange(batch_size) * lanes.lane_len
    assert (whole == first + np.arange(used)[:, None]).all()
    assert whole.size + lanes.left_over == num_tokens
    assert max(targets.max() for _, targets in windows) < num_tokens
    assert num_tokens - batch_size * lanes.lane_len <= batch_size  # lanes could not be longer

    w = lanes.num_windows // 2  # out of order, and into one's own arrays
    inputs, targets = np.zeros((2, num_steps, batch_size), np.int64)
    lanes.fill(w, inputs, targets)
    assert (inputs == windows[w][0]).all() and (targets == windows[w][1]).all()
    with pytest.raises(IndexError):
        lanes.window(lanes.num_windows)


@given(num_tokens=st.integers(2, 200), batch_size=sizes, num_steps=sizes)
def test_validation_lanes_always_have_a_window(num_tokens: int, batch_size: int, num_steps: int) -> None:
    lanes = Lanes.validation(np.arange(num_tokens), batch_size, num_steps)
    assert lanes.num_windows >= 1
    assert (lanes.batch_size, lanes.num_steps) <= (batch_size, num_steps)
    if num_tokens > batch_size * num_steps:
        assert (lanes.batch_size, lanes.num_steps) == (batch_size, num_steps)
    elif num_tokens > num_steps:
        assert lanes.num_steps == num_steps


@given(num_tokens=st.integers(0, 9000), fraction=st.floats(0, 0.9), data=st.data())
def test_split_holds_out_pieces_spread_over_the_corpus(num_tokens: int, fraction: float, data: st.DataObject) -> None:
    corpus = np.arange(num_tokens)
    training, validation = split(corpus, fraction)
    assert len(validation) == int(num_tokens * fraction)
    parts = [part[0 : len(part)] for part in (training, validation)]
    assert (np.sort(np.concatenate(parts)) == corpus).all()  # each token in one of the two
    for row, whole in zip((training, validation), parts):  # any stretch of them, across the seams too
        start, stop = sorted(data.draw(st.integers(0, len(row))) for _ in range(2))
        assert (row[start:stop] == whole[start:stop]).all() and len(row[start:stop]) == stop - start
    if len(validation) >= 2000:  # no stretch of the corpus is without its piece
        gaps = np.diff(np.concatenate([[-1], parts[1], [num_tokens]]))
        assert gaps.max() <= num_tokens // min(len(validation) // 1000, 50) + 2


@pytest.mark.parametrize("num_tokens", [99, 100, 1001, 5003, 52_347, 104_729])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95, 0.99, 0.9999])
def test_nothing_that_is_held_out_is_learned_from(num_tokens, fraction):
    ids = np.arange(num_tokens)
    training, validation = split(ids, fraction)
    one, two = training[0 : len(training)], validation[0 : len(validation)]
    assert np.array_equal(np.sort(np.concatenate([one, two])), ids)
