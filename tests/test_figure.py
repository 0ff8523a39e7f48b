"""Figures: every kind of panel is drawn, as PNG and as SVG, and what the run is called shows as it is."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_panels import AWKWARD, NASTY, PANELS, USUAL, measure

from micrornn.errors import MissingError
from micrornn.printable import printable
from micrornn.report import figure as figure_module
from micrornn.report.figure import figure

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: plot)")


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 3), 0 .. 1."""
    from matplotlib.image import imread

    return imread(io.BytesIO(png))[:, :, :3]


@pytest.mark.parametrize("name", [name for name, panel in USUAL.items() if name not in ("rows", "slides")])
def test_the_panel_is_drawn(name: str) -> None:
    """In colours, not just axes and letters in grey."""
    image = pixels(figure([(measure("credit", "healthy"), [PANELS[name]])]))
    coloured = image.max(axis=2) - image.min(axis=2) > 0.3
    assert coloured.mean() > 1e-3


def test_svg_holds_the_words() -> None:
    found = [(measure("credit", "vanishing"), [USUAL["band"], USUAL["rows"]]), (measure("flow", "healthy"), [])]
    svg = figure(found, "svg")
    assert svg == figure(found, "svg"), "the same measures give the same file"
    words = " ".join(" ".join(ElementTree.fromstring(svg).itertext()).split())
    for part in ("Fading", "num_steps 20", "lag", "inside of quotes", "vanishing: The gradient halves", "→ Take"):
        assert part in words


def test_slides_are_drawn_first_and_last_on_the_same_axes() -> None:
    words = " ".join(ElementTree.fromstring(figure([(measure("flow"), [USUAL["slides"]])], "svg")).itertext())
    assert "Flow, update 1" in words and "Flow, update 100" in words and "update 50" not in words
    first, last = USUAL["slides"].ends()
    assert first.limits == last.limits == (pytest.approx(10 * np.exp(-59 / 8)), pytest.approx(90))


def test_awkward_panels() -> None:
    """None of them stops the others, and whatever a name holds, the file is XML."""
    svg = figure([(measure("flow", "nonfinite"), list(AWKWARD.values()))], "svg")
    shown = "".join(ElementTree.fromstring(svg).itertext())
    assert printable(NASTY) in shown


def test_the_extra_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'micrornn\[plot\]'"):
        figure([])
