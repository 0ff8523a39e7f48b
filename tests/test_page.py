"""The page, opened in a headless Chromium: nothing fetched, nothing complained about, every picture drawn, what can be
moved moves, and what the run is called shows as it is. Without a Chromium the page is still built and read."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_panels import AWKWARD, NASTY, USUAL, K, T, credit_matrix, kept, measure

from micrornn.data import Lanes, Vocab
from micrornn.errors import MissingError
from micrornn.inspect.panels import Curve, Heat, Lines, Slides
from micrornn.printable import printable
from micrornn.report import page as page_module
from micrornn.report.page import page
from micrornn.report.run import Run, learning

pytest.importorskip("plotly", reason="plotly is not installed (extra: report)")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
METRICS = [
    {"update": n, "loss": 4 - n / 100, "val_loss": None if n % 50 else 3.9 - n / 100} for n in range(1, 201)
]  # fmt: skip


def lanes() -> tuple[Lanes, Vocab]:
    text = "to be, or not to be: that is <b>the</b> question.\n" * 40
    vocab = Vocab.build([text], "char")
    return Lanes(vocab.encode(text), 4, K), vocab


@pytest.fixture(scope="module")
def html() -> str:
    """A page with panels of every kind, of a run with an evil name."""
    usual = USUAL
    parts = [
        (measure("flow", "healthy"), [usual["slides"], usual["gates"], replace(usual["credit"], window=None)]),
        (measure("credit", "vanishing"), [usual["band"], usual["credit"]]),
        (measure("truncation", "biased"), [usual["bias"]]),
        (measure("states", "unsure"), [usual["units"], usual["rows"], usual["text"]]),
        (measure("nonfinite", "nonfinite"), list(AWKWARD.values())),
    ]
    return page(Run(NASTY, [("model", NASTY)], METRICS, *lanes(), command=NASTY), parts)


# --- as text ------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Counts elements and collects what is text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.open = tag
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open not in ("script", "style"):
            self.text.append(data)


def test_everything_of_the_run_is_escaped(html: str) -> None:
    seen = Elements(html)
    assert seen.tags["script"] == 3, "the numbers, plotly and page.js"
    assert all(address.startswith(("#", "data:")) for address in seen.addresses)
    assert sum(printable(NASTY) in text for text in seen.text) >= 5
    numbers = re.search(r'id="panels">(.*?)</script>', html, re.DOTALL)
    assert numbers is not None and "<" not in numbers[1] and "alert(1)" in numbers[1]


def test_the_largest_page_is_below_six_megabytes() -> None:
    """Many large heat maps, a credit matrix over 400 time steps, long curves, a long training that was watched."""
    rng = np.random.default_rng(0)
    heat = Heat("h", "x", "y", "v", range(700), range(400), rng.random((400, 700)))
    x = np.arange(100_000)
    noise = rng.random((4, len(x)))
    lines = Lines("l", "x", "y", [Curve(f"c{n}", x, *noise[:3]) for n in range(6)])
    credit = Heat("c", "t", "s", "v", range(400), range(400), credit_matrix(400), log=True, window=50)
    watched = Slides("s", "update", range(300), [replace(heat, values=heat.values[:100, :100])] * 300)
    found = [(measure("all", "healthy"), [heat] * 30 + [lines] * 15 + [credit, watched])]
    metrics = [{"update": int(n), "loss": 1.0} for n in x]
    assert len(page(Run("large", (), metrics), found).encode()) < 6e6


def test_learning_curve() -> None:
    curve = learning(METRICS)
    assert curve is not None
    training, validation = curve.curves
    assert training.y[100] == pytest.approx(4 - 1.01) and list(validation.x) == [50, 100, 150, 200]
    assert learning([]) is None and learning([{"update": 1, "loss": 2.0}]) is None


def test_the_extra_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'micrornn\[report\]'"):
        page(Run("none"), [])


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium of this machine, driven by playwright; MICRORNN_TEST_CHROMIUM may name its file."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: test)")
    named = os.environ.get("MICRORNN_TEST_CHROMIUM")
    found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine: none of {', '.join(BROWSERS)} is on the PATH")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


class Opened:
    """The page in a window, with all that it asked the network for and all that it said."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str, part: str = "") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 600
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.url, self.part = path.as_uri(), part
        self.page.goto(self.url + part)
        self.page.wait_for_selector("html[data-drawn]", timeout=60_000)

    def coloured(self, plot: Any) -> float:
        """Which share of a picture, between its axes, is neither grey nor the ground."""
        from matplotlib.image import imread

        plot.scroll_into_view_if_needed()
        box = plot.locator(".nsewdrag").first.bounding_box()
        clip = {"x": box["x"] + 2, "y": box["y"] + 2, "width": box["width"] - 4, "height": box["height"] - 4}
        image = imread(io.BytesIO(self.page.screenshot(clip=clip)))[:, :, :3]
        return float((image.max(axis=2) - image.min(axis=2) > 0.15).mean())

    def figure(self, title: str) -> Any:
        return self.page.locator("figure", has=self.page.get_by_role("heading", name=title, exact=True)).first


@pytest.fixture(scope="module", params=[(390, "dark", "#truncation"), (1400, "light", "")], ids=["phone", "desktop"])
def opened(request: pytest.FixtureRequest, chromium: Any, html: str, tmp_path_factory: Any) -> Iterator[Opened]:
    """The page on a phone and on a desktop; each test leaves it as it was, as far as the next is concerned."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, "utf-8")
    opened = Opened(chromium, path, *request.param)
    yield opened
    opened.context.close()


def test_a_link_opens_at_a_panel(opened: Opened) -> None:
    top = opened.page.evaluate("document.getElementById('truncation').getBoundingClientRect().top")
    assert (0 <= top < 120) == bool(opened.part), top


def test_every_panel_is_drawn_and_nothing_is_fetched(opened: Opened) -> None:
    assert opened.requests == [opened.url] and not opened.said
    wide = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] == wide[1], "nothing sticks out at the side"
    plots = opened.page.locator("section:not(#nonfinite) .plot").all()  # there are those in which there is nothing
    shares = [opened.coloured(plot) for plot in plots]
    assert len(shares) == 8 and min(shares) > 2e-3, shares
    shown = opened.page.locator("svg.lanes:visible")
    assert shown.count() == 1 and "batch_size" in shown.text_content()
    assert opened.page.locator("h1").text_content() == printable(NASTY)


HALF_EMPTY = """() => [...document.querySelectorAll('.panels')].flatMap(box => {
    const rows = {}, wide = box.getBoundingClientRect().width;
    for (const panel of box.children) {
        const {top, width} = panel.getBoundingClientRect();
        rows[Math.round(top)] = (rows[Math.round(top)] || 0) + width;
    }
    return Object.values(rows).filter(row => row < 0.9 * wide).map(row => [box.closest('section').id, row, wide]);
})"""


def test_no_row_is_half_empty(opened: Opened) -> None:
    assert opened.page.evaluate(HALF_EMPTY) == []


OVERLAPS = """() => [...document.querySelectorAll('section:not(#nonfinite) .plot')].filter(plot =>
  ['x', 'y'].some(way => {
  const box = element => element.getBoundingClientRect(), title = plot.querySelector(`.${way}title`);
  return title && [...plot.querySelectorAll(`.${way}tick text`)].map(box).some(b => {
    const a = box(title);
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  });
})).map(plot => plot.getAttribute('aria-label'))"""


def test_no_title_of_an_axis_lies_over_its_numbers(opened: Opened) -> None:
    assert opened.page.evaluate(OVERLAPS) == []


def test_the_slider_goes_through_the_training(opened: Opened) -> None:
    figure = opened.figure("Flow")
    slider, plot = figure.locator("input[type=range]"), figure.locator(".plot")
    seen = {}
    for key in ("End", "Home", "ArrowRight"):
        slider.press(key)
        opened.page.wait_for_timeout(100)
        seen[figure.locator("output").text_content()] = plot.evaluate("plot => plot.data[0].y[0]")
    assert seen == {"100": pytest.approx(90), "1": pytest.approx(10), "50": pytest.approx(50)}
    assert opened.coloured(plot) > 2e-3 and not opened.said


def test_k_is_dragged_over_the_credit_matrix(opened: Opened) -> None:
    """What is told to be cut is what the windows cut, for whatever K and way the mouse has chosen."""
    figure, matrix = opened.page.locator("figure:has(input[type=radio])"), credit_matrix()
    handle, shown = figure.locator(".handle"), figure.locator("output")

    def lost() -> float:
        return float(figure.get_attribute("data-lost"))

    assert shown.text_content() == str(K) and lost() == pytest.approx(1 - kept(matrix, K), abs=2e-4)
    handle.scroll_into_view_if_needed()
    box, plot = handle.bounding_box(), figure.locator(".nsewdrag").bounding_box()
    wanted, mouse = 45, opened.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    for at in ((K + wanted) / 2, wanted):  # on the way too
        mouse.move(plot["x"] + at / T * plot["width"], plot["y"] + at / T * plot["height"])
    mouse.up()
    opened.page.wait_for_timeout(200)
    k = int(shown.text_content())
    assert abs(k - wanted) <= 1 and lost() == pytest.approx(1 - kept(matrix, k), abs=2e-4)
    assert f"K = {k} time steps" in figure.locator(".share").text_content()
    moved, along = handle.bounding_box(), 0.3 * plot["width"]
    assert moved["x"] > box["x"] + along and moved["y"] > box["y"] + along, "the handle went along"
    figure.get_by_label("each loss sees K time steps back").check()
    profile = np.exp(-np.arange(T) / 8)
    assert lost() == pytest.approx(profile[k:].sum() / profile.sum(), abs=2e-4)
    handle.press("ArrowLeft")
    assert shown.text_content() == str(k - 1) and not opened.said


def test_light_and_dark(opened: Opened) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    letters = "document.querySelector('.xtick text').style.fill"
    before = [opened.page.evaluate(what) for what in (ground, letters)]
    opened.page.locator("#theme").click()
    opened.page.wait_for_function(f"{letters} !== '{before[1]}'")  # the pictures follow
    assert opened.page.evaluate(ground) != before[0] and not opened.said
