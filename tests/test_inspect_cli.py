"""`micrornn inspect`: what it shows fits the terminal, what it writes is whole, and mistakes are told beforehand."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn
from made_up_panels import AWKWARD, NASTY, PANELS, USUAL, measure
from made_up_runs import made_up
from rich.cells import cell_len
from rich.console import Console

from micrornn.inspect.kinds import KINDS
from micrornn.inspect.panels import Heat, Slides
from micrornn.inspect.register import about, find, names
from micrornn.inspect.subject import Subject, open_subject
from micrornn.inspect.words import number, percent
from micrornn.report.page import title_of
from micrornn.tasks.material import Sizes
from micrornn_cli.exits import Exit
from micrornn_cli.panels import view

# --- drawings in a terminal ---------------------------------------------------------------------------------


def screen(width: int, colour: bool, what: Any, panels: Any) -> str:
    """What a terminal of that width gets, escape sequences and all."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system="truecolor" if colour else None, force_terminal=colour,
                      no_color=not colour, highlight=False)  # fmt: skip
    view(what, panels, console)
    return out.getvalue()


def bare(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int, colour: bool) -> None:
    for name, panel in PANELS.items():
        text = screen(width, colour, measure("flow", "vanishing", "healthy"), [panel])
        wide = [line for line in bare(text).splitlines() if cell_len(line) > width]
        assert not wide, (name, wide)
        assert "\x1b" not in bare(text) and ("\x1b[" in text) == colour, name


@pytest.mark.parametrize("name", USUAL)
def test_a_picture_says_the_same_with_and_without_colours(name: str) -> None:
    """Its title, its labels and every verdict are there; and without colours it is not empty."""
    panel = USUAL[name]
    texts = [bare(screen(80, colour, measure("flow", *KINDS), [panel])) for colour in (False, True)]
    for text in texts:
        assert panel.title in text
        assert all(re.search(rf"^{kind} .*The gradient halves", text, re.MULTILINE) for kind in KINDS)
    drawn = {"•+⠉⠒⠤": ("band", "bias", "slides"), "░▒▓█": ("credit", "gates"), "=-+#": ("units",), "▁▅█": ("text",)}
    signs = next((signs for signs, names in drawn.items() if name in names), "")
    assert not signs or any(texts[0].count(sign) > 3 for sign in signs)


def test_no_color_is_heeded_on_a_terminal() -> None:
    """With NO_COLOR set rich still writes bold, but no colour; so the pictures are drawn in shades."""
    out = io.StringIO()
    console = Console(file=out, width=80, color_system="truecolor", force_terminal=True, no_color=True)
    view(measure("credit", "healthy"), [USUAL["credit"], USUAL["text"], USUAL["band"]], console)
    text = out.getvalue()
    assert not re.search(r"\x1b\[(\d+;)*[349][0-9]", text) and "\x1b[1m" in text
    assert "▒" in text and "▅" in text and "+++" in text


def test_a_curve_goes_where_its_numbers_are() -> None:
    """The highest of a falling curve is at the left on top, the lowest at the right below; the mark is over its x."""
    lines = screen(80, False, measure("credit"), [USUAL["bias"]]).splitlines()
    rows = [line.split("┤")[-1].split("│")[-1] for line in lines if "┤" in line or "│" in line]
    assert rows[0].rstrip()[-1] != " " and len(rows[0].rstrip()) < 5
    assert rows[-1].startswith("   ") and len(rows[-1].rstrip()) == len(rows[-1])
    lines = screen(80, False, measure("credit"), [USUAL["band"]]).splitlines()
    (flag,) = (line for line in lines if "▼ num_steps 20" in line)
    (label,) = (line for line in lines if re.fullmatch(r" +0 +10 +20 .*", line.rstrip()))
    assert abs(flag.index("▼") - label.index("20")) <= 1


def test_colours_of_a_heat_map_follow_its_numbers() -> None:
    """A matrix that fades towards one corner: brighter at the diagonal than there, and nothing above it."""
    lines = screen(80, False, measure("credit"), [USUAL["credit"]]).splitlines()
    rows = [re.split("[┤│]", line)[1] for line in lines if re.search("[┤│]", line)]
    assert rows[-1].startswith("·") and rows[-1].endswith("█") and rows[0].startswith("█") and rows[0].endswith(" ")


@pytest.mark.parametrize(
    "places, wanted",
    [
        (range(128), "unit (means of 8)"),  # numbers in their order: each line is a mean of neighbours
        (range(40), "unit (means of about 2)"),
        (
            [*range(1, 40), 0],
            "unit (the first 16 of 40)",
        ),  # ranked: what is next to it is no neighbour
        (range(16), "unit  "),
    ],
)
def test_what_a_line_of_a_heat_map_stands_for_is_told(places: Any, wanted: str) -> None:
    values = np.arange(len(places))[:, None] * np.ones(5)
    text = screen(80, False, measure("states"), [Heat("Units", "t", "unit", "h", range(5), list(places), values)])
    assert f"↓ {wanted}" in text
    assert ("[█] 15" in text) == ("first" in wanted or len(places) == 16)


def test_pictures_of_a_slider_share_their_limits_but_for_those_that_have_some() -> None:
    gates = [Heat("", "t", "unit", "", [0, 1], [0], np.array([[0.0, x]]), limits=ends)
             for x, ends in ((0.5, (0.0, 1.0)), (-0.5, None), (-0.9, None))]  # fmt: skip
    assert [panel.limits for panel in Slides("Gates", "gate", "ifg", gates).frames()] == [(0, 1), (-0.9, 0), (-0.9, 0)]


@pytest.mark.parametrize(
    "value, as_number, as_percent",
    [
        (0, "0", "0 %"), (0.00012345, "0.000123", "0.01 %"), (0.0123, "0.0123", "1.2 %"), (0.71, "0.71", "71 %"),
        (0.9925, "0.993", "99.2 %"), (1.0, "1", "100 %"), (1.5e-7, "1.5e-7", "0.00 %"), (-0.25, "-0.25", "-25 %"),
        (999.4, "999", "99,940 %"), (3412.6, "3,413", "341,260 %"), (1.5e8, "1.5e8", "15,000,000,000 %"),
        (float("inf"), "inf", "inf %"), (float("nan"), "nan", "nan %"),
    ],
)  # fmt: skip
def test_how_numbers_are_written(value: float, as_number: str, as_percent: str) -> None:
    assert (number(value), percent(value)) == (as_number, as_percent)


def test_two_pictures_share_a_wide_terminal() -> None:
    text = screen(200, False, measure("flow"), [PANELS["band"], PANELS["bias"]])
    assert re.search(r"^Fading +Bias *$", text, re.MULTILINE)


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LSTM and a text of four thousand characters."""
    return made_up("healthy", tmp_path_factory.mktemp("runs"), hidden_size=8, num_steps=16).path


@pytest.fixture
def inspect(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Micrornn:
    """`micrornn inspect` in an empty folder."""
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return partial(micrornn, "inspect")


SMALL = ["--windows", 2, "--seq-len", 12, "--batch-size", 2]
ONE = list(names())


@pytest.mark.parametrize("name", ONE)
def test_every_measure_for_people_and_machines(inspect, run, name):
    sizes = ["--seq-len", 600] if name == "states" else SMALL
    code, text, err = inspect(name, run, *sizes)
    assert (code, err) == (0, "") and text.startswith(f"{name}  healthy")
    assert re.search(rf"^({'|'.join(KINDS)}) +\S", text, re.MULTILINE), "a view ends with a verdict"
    code, text, err = inspect(name, run, *sizes, "--json")
    found = json.loads(text)
    assert (code, err, found["what"]) == (0, "", name) and found["verdicts"]
    code, text, err = inspect(name, run, *sizes, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (code, err) == (0, "") and {row["array"] for row in rows} >= set(found["arrays"])


def test_all_measures_in_one_go(inspect, run):
    code, text, err = inspect("all", run, *SMALL, "--json", "--html", "page.html")
    assert (code, err) == (0, "") and list(json.loads(text)) == ONE
    page = Path("page.html").read_text()
    assert all(f'<section id="{name}">' in page for name in ["lanes", *ONE])
    assert [path.name for path in Path().iterdir()] == ["page.html"], "and nothing beside it"


def test_all_measures_end_with_their_verdicts_in_short(inspect, run):
    code, text, err = inspect("all", run, *SMALL)
    assert (code, err) == (0, "")
    last = text[text.index("In short") :]
    assert [line.split()[0] for line in last.splitlines()[1:] if line[0] != " "] == ONE


def test_of_all_measures_those_that_cannot_be_are_left_out(inspect, run):
    """A text of 40 characters is too short for some of them, but not for all."""
    Path("short.txt").write_text("12 green bottles hanging on the wall,\n")
    code, text, err = inspect("all", run, "--text", "short.txt", "--windows", 1, "--batch-size", 1, "--json")
    assert code == 0 and "credit" in json.loads(text)
    assert re.search(r"^\w+ is left out: ", err, re.MULTILINE), err
    assert set(json.loads(text)) | set(re.findall(r"^(\w+) is left out", err, re.MULTILINE)) == set(ONE)


@pytest.mark.parametrize("name, start", [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_a_figure_is_written(inspect, run, name, start):
    code, text, err = inspect("weights", run, *SMALL, "--save", name)
    assert (code, err) == (0, "") and "Gradients" in text and Path(name).read_bytes().startswith(start)


def test_sizes_that_are_not_given_fit_the_text(inspect, run):
    """Usually 4 windows of 200 time steps in 4 lanes; of a short text, less of it."""
    Path("short.txt").write_text("12 green bottles hanging on the wall,\n" * 24)
    code, text, _ = inspect("credit", run, "--text", "short.txt", "--json")
    about = json.loads(text)["subject"]
    assert code == 0 and about["seq_len"] == 200 and (about["windows"], about["lanes"]) == (3, 1)
    assert about["text"] == "short.txt"


def test_fail_on(inspect, tmp_path):
    """Four made-up runs, each with the verdict it deserves and an exit code."""
    for kind in ("healthy", "vanishing", "exploding", "saturated"):
        made_up(kind, tmp_path / "runs")
        code, _, err = inspect("flow", tmp_path / "runs" / kind, "--fail-on", "vanishing, exploding,saturated")
        assert (code, err) == ((0, "") if kind == "healthy" else (Exit.FAILED, f"--fail-on: {kind}\n"))
        assert inspect("flow", tmp_path / "runs" / kind, "--fail-on", "noisy,biased")[0] == Exit.OK
    # open forget gates add up what comes in: that is no chaos, and does not explode
    assert inspect("jacobian", tmp_path / "runs/saturated", "--fail-on", "chaotic,exploding")[0] == Exit.OK


def test_windows_begin_with_the_state_that_the_text_before_them_leaves(run):
    subject = open_subject(str(run))
    lanes, found = subject.material.batches(Sizes(4, 60, 3)).lanes, subject.windows(60, 4, 3)
    assert len(found) == 4
    for window in found:
        (place,) = [w for w in range(lanes.num_windows) if np.array_equal(lanes.window(w)[0], window.inputs)]
        assert place > 0 and np.array_equal(window.targets, lanes.window(place)[1])
        _, left = subject.model(lanes.window(place - 1)[0])
        assert all(np.array_equal(ours.data, theirs.data) for ours, theirs in zip(window.state, left, strict=True))


def test_every_measure_is_taken_of_a_model_without_a_run(run) -> None:
    subject = open_subject(str(run))
    for name in names():  # as `micrornn warmup` does
        found = find(name).take(
            Subject(subject.model, {}, subject.material), Sizes(4, 600 if name == "states" else 8, 4)
        )
        assert found.what == name and found.verdicts and "run" not in found.subject


def test_help_pages_and_docs_read_the_register(inspect) -> None:
    listed = inspect("--help")[1]
    for name in (*names(), "diagnosis", "all"):
        shown = inspect(name, "--help")[1]
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE) and all(kind in shown for kind in KINDS)
    page = (Path(__file__).parents[1] / "docs" / "inspect.md").read_text("utf-8")
    for name in names():
        assert f"| `micrornn inspect {name} RUN` |" in page
        kind, told = find(name), about(name)
        assert kind.name == name and kind.title == told.title == title_of(name) and told.line in (kind.__doc__ or "")
        assert (kind.windows, kind.seq_len, kind.batch_size) == (told.windows, told.seq_len, told.batch_size)
    assert title_of("flow_of_encoder") == "Flow of the encoder" and title_of("flow_over_training").startswith("Over")


# --- mistakes -----------------------------------------------------------------------------------------------

MISTAKES = {
    "longer than the text": (["credit", "RUN", "--seq-len", 9000], Exit.DATA, ["9,000 time steps", "--seq-len"]),
    "states of more": (["states", "RUN", "--seq-len", 90000], Exit.DATA, ["--seq-len 90,000"]),
    "no text": (["credit", "RUN", "--text", "nowhere.txt"], Exit.DATA, ["nowhere.txt", "no such file"]),
    "unknown symbol": (["credit", "RUN", "--text", "odd.txt"], Exit.DATA, ["odd.txt", "'é'"]),
    "empty text": (["credit", "RUN", "--text", "empty.txt"], Exit.DATA, ["empty.txt", "empty"]),
    "no run": (["credit", "nowhere"], Exit.CHECKPOINT, ["nowhere"]),
    "no checkpoint": (["credit", "odd.txt"], Exit.CHECKPOINT, ["odd.txt", "not a micrornn checkpoint"]),
    "checkpoint without data": (["credit", "bare.ckpt"], Exit.CHECKPOINT, ["config.toml", "--text FILE"]),
    "unknown kind": (["flow", "RUN", "--fail-on", "vanish"], Exit.USAGE, ["no verdict 'vanish'", "vanishing"]),
    "two formats": (["flow", "RUN", "--json", "--csv"], Exit.USAGE, ["--json or --csv"]),
    "figure of no kind": (["flow", "RUN", "--save", "a.gif"], Exit.USAGE, ["a.gif", ".png or an .svg"]),
    "figure nowhere": (["flow", "RUN", "--save", "no/a.png"], Exit.CHECKPOINT, ["no/a.png", "Make the folder first"]),
    "page is a folder": (["flow", "RUN", "--html", "folder"], Exit.CHECKPOINT, ["folder", "not a regular file"]),
    "page is a device": (["flow", "RUN", "--html", "/dev/null"], Exit.CHECKPOINT, ["/dev/null", "not a regular file"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_two_lines_and_an_exit_code(inspect, run, case):
    arguments, wanted, words = MISTAKES[case]
    Path("odd.txt").write_text("12 green bottlés hanging on the wall\n" * 40)
    Path("empty.txt").write_text("")
    Path("folder").mkdir()
    Path("bare.ckpt").write_bytes((run / "last.ckpt").read_bytes())
    before = sorted(Path().rglob("*"))
    code, text, err = inspect(*(run if part == "RUN" else part for part in arguments))
    assert (code, text) == (wanted, "") and err.startswith("Error: ") and len(err.strip().splitlines()) <= 2, err
    for word in words:
        assert word in " ".join(err.split()), (word, err)
    assert sorted(Path().rglob("*")) == before, "nothing is half-written"


@pytest.mark.parametrize("flag, extra", [("--save=a.png", "plot"), ("--html=a.html", "report")])
def test_an_extra_that_is_missing_is_named_before_anything_is_measured(inspect, monkeypatch, flag, extra):
    found = importlib.util.find_spec
    missing = ("matplotlib", "plotly")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name in missing else found(name, *_))
    code, text, err = inspect("credit", "nowhere", flag)  # not even the run was looked for
    assert (code, text) == (Exit.MISSING, "")
    assert err.startswith("Error: ") and f"pip install 'micrornn[{extra}]'" in err and len(err.splitlines()) <= 2


def test_what_is_not_finite_is_told_in_json_too(inspect, tmp_path):
    """rnn_relu with enormous weights: everything overflows, and the output is JSON all the same."""
    folder = made_up("exploding", tmp_path / "runs").path
    from micrornn.checkpoint import load, save

    arrays, meta = load(folder / "last.ckpt")
    arrays["parameter/rnn.weight_hh_l0"] *= np.float32(1e30)
    save(folder / "last.ckpt", arrays, meta)
    with np.errstate(all="ignore"):
        code, text, _ = inspect("nonfinite", folder, *SMALL, "--json", "--fail-on", "nonfinite")
    assert code == Exit.FAILED
    (verdict,) = json.loads(text, parse_constant=pytest.fail)["verdicts"]
    assert verdict["kind"] == "nonfinite" and "op rnn" in verdict["words"]


def test_a_run_may_be_called_anything() -> None:
    """A name with escape sequences does not reach the terminal as such."""
    text = screen(80, False, measure("flow", "healthy"), [AWKWARD["nasty"], AWKWARD["nasty rows"]])
    assert NASTY.replace("\x1b", "␛") in text and "\x1b" not in text
