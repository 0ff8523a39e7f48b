"""Scales of the pictures in a terminal, for any numbers that a float can be; and pictures of any width."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_panels import PANELS, measure
from rich.console import Console

from micrornn.inspect.panels import Curve, Lines
from micrornn_cli.axes import Scale, round_numbers
from micrornn_cli.chart import chart
from micrornn_cli.panels import view

numbers = st.floats(allow_nan=True, allow_infinity=True)
near = st.builds(lambda x, ulps: float(x + ulps * np.spacing(x)), st.floats(-1e300, 1e300), st.integers(0, 9))


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers | near, max_size=6), near, st.booleans(), st.integers(-3, 30))
def test_a_scale_holds_its_numbers_and_its_ticks(values, other, log, most):
    """Of numbers that differ by rounding, of the largest and the smallest floats, of none: ticks lie on the scale."""
    array = np.array([*values, other, float(np.nextafter(other, np.inf))][: len(values) + (most % 3)])
    scale = Scale.over(array, log)
    assert math.isfinite(scale.low) and math.isfinite(scale.high) and scale.low < scale.high
    ticks = scale.ticks(most)
    assert 0 < len(ticks) <= max(2, most) and ticks == sorted(set(ticks))
    with np.errstate(all="ignore"):
        assert np.isfinite(scale(np.array(ticks))).all()
        shown = array[np.isfinite(array) & ((array > 0) | (not log))]
        if not log and shown.size:
            assert np.isfinite(scale(shown)).all()


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308), st.integers(2, 20))
def test_round_numbers_lie_between(one, other, most):
    low, high = sorted((one, other))
    found = round_numbers(low, high, most)
    assert 0 < len(found) <= max(most, 1)
    slack = 1e-8 * (high / most - low / most) + 1e-15 * max(abs(low), abs(high))
    assert all(low - slack <= value <= high + slack for value in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers | near, min_size=1, max_size=5), st.booleans(), st.integers(24, 60))
def test_a_chart_of_any_numbers_can_be_drawn(values, log, width):
    y = np.array(values)
    with np.errstate(all="ignore"):
        chart(Lines("any", "x", "y", [Curve("a", np.arange(len(y)), y, y / 2, y)], log_y=log), width, 8, False)


@pytest.mark.parametrize("width", range(1, 9))
def test_a_terminal_of_a_few_columns_is_no_error(width):
    for colour in (None, "truecolor"):
        console = Console(file=io.StringIO(), width=width, color_system=colour, force_terminal=colour is not None)
        view(measure("flow", "vanishing", "healthy"), list(PANELS.values()), console)
