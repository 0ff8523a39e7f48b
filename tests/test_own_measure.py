"""A measure in a file of one's own: the one of the page, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn
from made_up_runs import made_up
from test_layering import ROOT

from micrornn_cli.exits import Exit


def test_the_measure_of_the_page(micrornn: Micrornn) -> None:
    page = (ROOT / "docs" / "writing-a-measure.md").read_text("utf-8")
    Path("my_measure.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    run = made_up("healthy", Path("runs")).path
    name = "./my_measure.py:Through"
    code, out, err = micrornn("inspect", name, run, "--json", "--windows", 2, "--html", "page.html")
    assert code == 0, err
    found = json.loads(out)
    through = np.array(found["arrays"]["through"]["values"], float)
    assert through.shape == (1, 4, 32) and found["axes"]["gate"]["places"] == ["i", "f", "g", "o"]
    assert np.isfinite(through).all() and (through > 0).any()
    np.testing.assert_allclose(through.mean(axis=2), found["arrays"]["mean"]["values"], rtol=1e-9)
    (verdict,) = found["verdicts"]
    assert "Most is let through by gate" in verdict["words"] and "nats per character" in verdict["words"]
    assert 'id="through"' in Path("page.html").read_text("utf-8")
    code, out, _ = micrornn("inspect", name, run)
    assert code == 0 and "through  healthy, after 60 updates" in out and "Its mean over time steps" in out
    assert micrornn("inspect", name, run, "--csv")[1].startswith("array,layer,gate,t,value,unit\nthrough,lstm_l0,i,0,")
    assert micrornn("inspect", name, run, "--fail-on", verdict["kind"])[0] == Exit.FAILED
    help_ = " ".join(micrornn("inspect", name, "--help")[1].split())
    assert "How much of dL/dh_t each gate lets through to h_prev." in help_ and "as a share of the norm" in help_


@pytest.mark.parametrize(
    "name, words",
    [
        ("./none.py:Mine", "No such file or directory; wanted FILE.py:CLASS"),
        ("./odd.py", "./odd.py:CLASS"),
        ("./odd.py:Other", "there is no measure 'Other' in it; it has Half"),
        ("./odd.py:Number", "'Number' is no subclass of Measuring"),
        ("./odd.py:Half", "the measure Half lacks measure"),
        ("./broken.py:Mine", "broken.py:2: ZeroDivisionError"),
    ],
)
def test_what_is_no_measure_is_told_in_a_line(name: str, words: str, micrornn: Micrornn) -> None:
    Path("odd.py").write_text(
        "from micrornn.inspect.register import Measuring\nNumber = int\nclass Half(Measuring): pass\n"
    )
    Path("broken.py").write_text("x = 1\nx / 0\n")
    code, out, err = micrornn("inspect", name, "runs/none")
    assert code == Exit.USAGE and words in err and "Traceback" not in err and len(err.splitlines()) < 4 and not out
