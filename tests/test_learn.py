"""The course: each check takes a right answer and refuses wrong ones; a file that cannot be checked is told with its
line; the pages are there. (Their code is run by test_docs.py.)"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from micrornn.errors import ConfigError, DataError
from micrornn.learn import PAGES, check, find
from micrornn.learn.names import lines_of
from micrornn_cli.main import cli

RIGHT = """
import math
import numpy as np

def slope(f, x):
    return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5

def gradients(w, x, b):
    da = 1 - math.tanh(w * x + b) ** 2
    return da * x, da * w, da

def backward(rows, last):
    grads = {last: 1.0}
    for out, inputs in reversed(rows):
        for name, part in inputs:
            grads[name] = grads.get(name, 0.0) + grads.get(out, 0.0) * part
    return grads

def fold(dy, shape):
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    return dy.sum(axis=tuple(n for n, size in enumerate(shape) if size == 1), keepdims=True)

def linear_back(x, w, dy):
    return dy @ w, dy.T @ x

def center_back(dy):
    return dy - dy.mean(axis=0)

def states(xs, w, u, b, h_init):
    found, h = [], h_init
    for x in xs:
        h = math.tanh(w * x + u * h + b)
        found.append(h)
    return found

def parts(xs, w, u, b, h_init):
    hs, dh, found = [h_init] + states(xs, w, u, b, h_init), 1.0, []
    for t in reversed(range(len(xs))):
        da = dh * (1 - hs[t + 1] ** 2)
        found.insert(0, da * hs[t])
        dh = da * u
    return found

def state_gradients(xs, w, u, b, h_init):
    message, found = 0.0, []
    for h in reversed(states(xs, w, u, b, h_init)):
        found.insert(0, 1.0 + message)
        message = found[0] * (1 - h**2) * u
    return found

def lanes(ids, batch_size):
    length = len(ids) // batch_size
    return ids[: length * batch_size].reshape(batch_size, length).T

def windows(array, num_steps):
    count = (len(array) - 1) // num_steps
    cut = [slice(n * num_steps, (n + 1) * num_steps) for n in range(count)]
    return [(array[:-1][one], array[1:][one]) for one in cut]

def truncated(xs, u, num_steps):
    import micrornn as mr
    u, h = mr.Tensor(float(u), requires_grad=True), mr.Tensor(0.0)
    for start in range(0, len(xs), num_steps):
        h, loss = mr.Tensor(h.data), 0.0
        with mr.Tape() as tape:
            for x in xs[start : start + num_steps]:
                h = mr.tanh(u * h + x)
                loss = loss + h
        tape.backward(loss)
    return u.grad

def jacobian(h, u):
    return (1 - h**2)[:, None] * u

bias = -math.log(0.1 ** -0.01 - 1)

def clip(grads, limit):
    norm = math.sqrt(sum((g**2).sum() for g in grads))
    return [g * min(1.0, limit / norm) if norm else g for g in grads]

def rnn(x, w, u, b):
    from_x = (x.reshape(-1, x.shape[2]) @ w.T).reshape(*x.shape[:2], -1) + b
    h, found = np.zeros(from_x.shape[1:]), []
    for row in from_x:
        h = np.tanh(row + h @ u.T)
        found.append(h)
    return np.stack(found)

def weight_gradient(da, h_prev):
    return da.reshape(-1, da.shape[2]).T @ h_prev.reshape(-1, da.shape[2])

def pairwise(numbers, add):
    if len(numbers) == 1:
        return numbers[0]
    half = len(numbers) // 2
    return add(pairwise(numbers[:half], add), pairwise(numbers[half:], add))
"""

WRONG = [  # exercise, what comes behind the right answers, what the line says
    ("slope", "def slope(f, x): return (f(x + 0.1) - f(x)) / 0.1", r"slope of sin at -1.3: got .*, expected 0.267499"),
    ("slope", "def slope(f, x): return (f(x + 1e-4) - f(x)) / 1e-4", "close, but not to 5 decimals: is it a central"),
    ("slope", "def slope(f, x): return (f(x + 1e-5) - f(x - 1e-5)) / 1e-5", "from x - step to x .* two steps"),
    ("slope", "def slope(f): return 1.0", "takes 1 positional argument but 2 were given"),
    ("slope", "def slope(f, x): return str(math.cos(x))", "got '0.26749"),
    ("states", "def states(*case): return [[1.0, 2.0], 3.0, [4.0]]", r"got an array of shape \(2,\), expected 0.7"),
    ("states", "def states(*case):\n    yield 0.1\n    raise KeyError('gone')", "KeyError: 'gone'"),
    ("slope", "slope = 3.0", "slope is 3.0, expected a function"),
    ("slope", "def slope(f, x): return (f(x - 1e-5) - f(x + 1e-5)) / 2e-5", "got -0.267499, .* right up to its sign"),
    ("gradients", "def gradients(w, x, b): return 1, 2", "got 2 values, expected 3"),
    ("gradients", "def gradients(w, x, b): return {'dw': 1.0}", "got {'dw': 1.0}, expected a list or a tuple"),
    ("gradients", "def gradients(w, x, b): pass", "got None, expected 3 values; a function that ends without `return`"),
    ("gradients", "def gradients(w, x, b): return w, x, b", "dy/dw of gradients at w=0.5, .*: got 0.5, expected 0.559"),
    ("gradients", "def gradients(w, x, b, right=gradients): return right(w, x, b)[::-1]",
     "the right values, from the last to the first: dy/dw comes first"),
    ("gradients", "def gradients(w, x, b, right=gradients):\n    g = right(w, x, b)\n    return g[1], g[0], g[2]",
     "the right values in another order; expected dy/dw, dy/dx, dy/db"),
    ("gradients", "def gradients(w, x, b):\n    return 1 / 0", r"answers.py:\d+: ZeroDivisionError: division by zero"),
    ("gradients", "def gradients(w, x, b): raise SystemExit", r"answers.py:\d+: SystemExit"),
    ("backward", "def backward(rows, last):\n    g = {last: 1.0}\n    for o, i in reversed(rows):\n"
     "        for n, s in i: g[n] = g.get(o, 0.0) * s\n    return g", "on the tape"),  # it does not add
    ("backward", "def backward(rows, last): return [1.0]", "got list, expected a dict"),
    ("fold", "def fold(dy, shape): return dy.sum(axis=0)", r"\(4, 1\)\): got an array of shape \(3,\), expected"),
    ("fold", "def fold(dy, shape): return dy.mean() * np.ones(shape)", r"at \[0\]: got .*, expected"),
    ("fold", "def fold(dy, shape, right=fold): return right(dy, shape) * dy[:1].size / dy.size",
     "all are 0.25 times what they should be"),
    ("fold", "def fold(dy, shape, right=fold): return right(dy, shape)[None]",
     "the numbers are right, only the shape is not"),
    ("fold", "def fold(dy, shape): dy.sum()", "got None, expected an array of shape"),
    ("linear_back", "def linear_back(x, w, dy): return dy @ w, x.T @ dy",
     r"dw of .*\(3, 2\), expected .*\(2, 3\); .* transposed"),
    ("linear_back", "def linear_back(x, w, dy): return dy.T @ x, dy @ w",
     "in another order; expected dx, dw"),
    ("linear_back", "def linear_back(x, w, dy): return dy @ w.T, dy.T @ x",
     r"a has 2 columns and b has 3 rows, .* given x of shape \(4, 3\), w of .*; dx is .*: \(4, 2\) times \(2, 3\)"),
    ("linear_back", "def linear_back(x, w, dy): return dy @ w, x.dot(dy)", r"a has 3 .* b has 4 rows.*dw is \(2, 3\)"),
    ("linear_back", "def linear_back(x, w, dy): return dy @ w", r"array of shape \(4, 3\), expected dx, dw"),
    ("gradients", "def gradients(w, x, b): return np.array(1.0)", r"got array\(1\.\), expected a list or a tuple"),
    ("center_back", "def center_back(dy): return dy", "the one through the mean is missing"),
    ("center_back", "def center_back(dy): return dy * (1 - 1 / len(dy))", "an x moves every y of its column"),
    ("center_back", "def center_back(dy): return dy - dy.mean()", "each column has a mean of its own"),
    ("center_back", "def center_back(dy): return dy + dy.mean(axis=0)", "through the mean has a minus"),
    ("center_back", "def center_back(dy): return 'dy'", "got 'dy', expected an array"),
    ("states", "def states(xs, w, u, b, h_init): return [math.tanh(w * x + b) for x in xs]", "h_0 of states"),
    ("states", "def states(xs, w, u, b, h, right=states): return [h] + right(xs, w, u, b, h)",
     "got 4 values, expected 3; without the first of them it is right"),
    ("states", "def states(xs, w, u, b, h, right=states): return [h] + right(xs, w, u, b, h)[:-1]",
     "h_0 of states.*; each stands one place too late"),
    ("parts", "def parts(*case): return state_gradients(*case)", "part of time step 0"),
    ("parts", "def parts(*case, right=parts): return right(*case)[::-1]",
     "the last to the first: part of time step 0 comes"),
    ("parts", "def parts(*case):\n    return [h * 2 for h in helper(*case)]\n\n\n"
     "def helper(*case):\n    found = states(*case)",
     r"TypeError: 'NoneType' object is not iterable; helper, line \d+, ends without `return` and so gives None"),
    ("parts", "def parts(*case): return [].append(1).real", "AttributeError: .*; something is None here"),
    ("state_gradients", "def state_gradients(xs, *rest): return [1.0 for _ in xs]", "dL/dh_0 of"),
    ("lanes", "def lanes(ids, batch_size): return ids[: len(ids) // batch_size * batch_size].reshape(-1, batch_size)",
     r"at \[0, 1\]: got 101, expected 104; these are neighbours"),
    ("windows", "def windows(a, n): return [(a[s : s + n], a[s + 1 : s + n + 1]) for s in range(len(a) - n)]",
     "got 9 windows, expected 3; they overlap"),
    ("windows", "def windows(a, n): return [(a[s : s + n], a[s + 1 : s + n + 1]) for s in range(0, len(a) - n + 1, n)]",
     "got 3 windows, expected 2; window 2 has 4 inputs and 3 targets, not 4 of each"),
    ("windows", "def windows(a, n): return [(a[s : s + n], a[s + 1 : s + n + 1]) for s in range(0, len(a) - n - 1, n)]",
     "got 2 windows, expected 3; 3 fit: .* up to time step 11, its targets up to 12"),
    ("windows", "def windows(a, n): return [(a[s : s + n], a[s + n : s + 2 * n]) for s in range(0, len(a) - n, n)]",
     "the targets are 4 time steps later than the inputs, a whole window"),
    ("lanes", "def lanes(ids, n): return ids[len(ids) % n :].reshape(n, -1).T",
     r"got 101, expected 100; the rest was dropped at the front"),
    ("lanes", "def lanes(ids, n): return ids.reshape(n, len(ids) // n).T",
     r"cannot reshape .* given ids of shape \(11,\), n = 2; 11 ids are 2 lanes of 5, and a rest of 1"),
    ("truncated", "def truncated(xs, u, num_steps, h=0.0, d=0.0, sum_=0.0):\n    for t, x in enumerate(xs, 1):\n"
     "        h, d = math.tanh(u * h + x), (1 - math.tanh(u * h + x) ** 2) * (h + u * d)\n"
     "        if t % num_steps == 0 or t == len(xs): sum_, d = sum_ + d, 0.0\n    return sum_",
     "the last state of each window alone"),
    ("truncated", "def truncated(xs, u, num_steps, whole=truncated): return whole(xs, u, len(xs))",
     "num_steps=3.*: nothing was cut"),
    ("truncated", "def truncated(xs, u, num_steps, whole=truncated):\n"
     "    return sum(whole(xs[n : n + num_steps], u, num_steps) for n in range(0, len(xs), num_steps))",
     "num_steps=3.*each start from a state of 0"),
    ("jacobian", "def jacobian(h, u): return (1 - h**2) * u", r"1 - h\[j\]\*\*2 multiplies column j of u"),
    ("jacobian", "def jacobian(h, u): return (1 - h**2) * u.T", r"right numbers, transposed: at \[i, j\] stands"),
    ("jacobian", "def jacobian(h, u): return [[1], [2, 3]]", "got "),
    ("bias", "bias = 3.0", "what is left after 100 time steps with bias = 3: got 0.0077"),
    ("bias", "bias = 'three'", "got 'three', expected a number"),
    ("bias", "def bias(): return 3.8", "bias is a function, expected a variable"),
    ("clip", "def clip(grads, limit): return [np.clip(g, -limit, limit) for g in grads]",
     "each number was clipped by itself"),
    ("clip", "def clip(grads, limit): return [g * min(1, limit / (1e-300 + np.linalg.norm(g))) for g in grads]",
     "scaled by its own norm, not by that of all"),
    ("clip",
     "def clip(grads, limit, right=clip): return [g if g.any() else g + math.nan for g in right(grads, limit)]",
     r"got nan, expected -?0; nan is what 0 / 0 gives"),
    ("rnn", "def rnn(x, w, u, b):\n    h, all_ = np.zeros((x.shape[1], len(u))), []\n    for one in x:\n"
     "        h = np.tanh(one @ w.T + h @ u.T + b)\n        all_.append(h)\n    return np.stack(all_)",
     "got 5 products with w, expected 1"),
    ("weight_gradient", "def weight_gradient(da, h): return sum(d.T @ p for d, p in zip(da, h))", "got 5 products"),
    ("weight_gradient", "def weight_gradient(da, h): return (da.transpose(0, 2, 1) @ h).sum(axis=0)", "got 5 products"),
    ("weight_gradient", "def weight_gradient(da, h): return sum(d.T.dot(p) for d, p in zip(da, h))", "got 5 products"),
    ("weight_gradient", "def weight_gradient(da, h): return da[0].T @ h[0]", "got .*, expected"),
    ("pairwise", "def pairwise(numbers, add):\n    s = numbers[0]\n    for n in numbers[1:]: s = add(s, n)\n"
     "    return s", "pairwise of 3,000 numbers: got .* which is off by 3.0e-05"),
    ("pairwise", "def pairwise(numbers, add): return sum(numbers)", "got 0 calls of add, expected 1"),
]  # fmt: skip


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.py"
    path.write_text(RIGHT)
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_right_answers_are_taken(page, answers: Path) -> None:
    report = check(page, answers)
    assert report.passed, report
    assert len(report.results) == 3 and all(result.said for result in report.results)


@pytest.mark.parametrize("name, text, said", WRONG, ids=[f"{n}-{row[0]}" for n, row in enumerate(WRONG)])
def test_wrong_answers_are_refused(name: str, text: str, said: str, answers: Path) -> None:
    answers.write_text(RIGHT + text + "\n")
    (page,) = (page for page in PAGES if name in [exercise.name for exercise in page.exercises])
    report = check(page, answers)
    (line,) = (result.said for result in report.results if not result.passed and result.name == name)
    assert re.search(said, line) and re.match(r"answers.py:\d+: ", line) and "\n" not in line
    first = RIGHT.count("\n") + 1
    assert int(line.split(":")[1]) >= first  # the line of the wrong one
    assert not report.passed


def test_other_products_are_not_taken_for_those_with_the_weights(answers: Path) -> None:
    """Here x is multiplied number by number, and h_prev U at each time step."""
    text = RIGHT.replace("(x.reshape(-1, x.shape[2]) @ w.T).reshape(*x.shape[:2], -1)", "(x[:, :, None] * w).sum(-1)")
    answers.write_text(text)
    assert text != RIGHT and check(PAGES[5], answers).passed


def test_each_exercise_has_a_wrong_answer_here() -> None:
    names = [exercise.name for page in PAGES for exercise in page.exercises]
    assert set(names) == {row[0] for row in WRONG} and len(names) == len(set(names)) == 18


@pytest.mark.parametrize(
    "text, said",
    [
        ("x = 1\ndef slope(f, x:\n    return 1\n", r"answers.py:2: SyntaxError: .*"),
        ("x = 1\n  y = 2\n", r"answers.py:2: IndentationError: unexpected indent"),
        ("import math\n\nmath.sqrt(-1)\n", r"answers.py:3: ValueError: math domain error"),
        ("def f():\n    return undefined\n\n\nf()\n", r"answers.py:2: NameError: name 'undefined' is not defined"),
        ("x = 1\n\0\n", r"answers.py:2: a zero byte.*"),
        ("import no_such_module_at_all\n", r"answers.py:1: ModuleNotFoundError: .*"),
        ("raise SystemExit(0)\n", r"answers.py:1: SystemExit: 0"),
        ("class Odd(Exception):\n    def __str__(self): return 1\n\nraise Odd\n", r"answers.py:4: Odd"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_run_is_told_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "answers.py").write_text(text)
    done = CliRunner().invoke(cli, ["learn", "check", "1", str(tmp_path / "answers.py")])
    assert done.exit_code == 1 and re.fullmatch(said, done.stdout.strip())


def test_what_is_missing_is_told_and_the_rest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "answers.py").write_text("print('hello')\n" + RIGHT.split("def gradients")[0])
    done = CliRunner().invoke(cli, ["learn", "check", "1", str(tmp_path / "answers.py"), "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 1 and [one["passed"] for one in told["exercises"]] == [True, False, False]
    assert told["exercises"][1]["said"] == "there is no function gradients in answers.py"
    assert "hello" in done.stderr


@pytest.mark.parametrize(
    "text, said",
    [
        ("def gradient(w, x, b): pass",
         "there is no function gradients in answers.py; line 1 defines gradient: is that it?"),
        ("def f():\n    def gradients(): pass\n", "; line 2 defines one inside of f, where nobody else sees it"),
        ("class A:\n    x = 1\n    def gradients(self): pass\n", "; line 3 defines one inside of A,"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_there_is_looked_for(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "answers.py").write_text(text)
    assert said in check(PAGES[0], tmp_path / "answers.py").results[1].said


def test_a_warning_has_its_line(answers: Path) -> None:
    answers.write_text("import numpy as np\nnp.log(0.0)\n\n\ndef slope(f, x):\n    return np.mean([])\n")
    with pytest.warns(RuntimeWarning) as warned:
        check(PAGES[0], answers)
    told = [str(one.message) for one in warned]
    assert told[0] == "answers.py:2: divide by zero encountered in log"
    assert told[1] == "answers.py:6: Mean of empty slice"  # raised by NumPy, further down


def test_answers_cannot_change_what_they_are_compared_with(answers: Path) -> None:
    answers.write_text(RIGHT + "def center_back(dy):\n    dy[:] = 0\n    return dy\n")
    assert not check(PAGES[1], answers).results[2].passed


def test_files_beside_it_are_found(tmp_path: Path) -> None:
    (tmp_path / "my_other_answers.py").write_text(RIGHT)
    (tmp_path / "answers.py").write_text("from my_other_answers import backward, gradients, slope\n")
    assert check(PAGES[0], tmp_path / "answers.py").passed
    (tmp_path / "answers.py").write_text(
        "import math\n\nif math:\n    from math import (\n        sin as slope,\n    )\n"
    )
    assert check(PAGES[0], tmp_path / "answers.py").results[0].said.startswith("answers.py:5: TypeError: ")


def test_pages_are_there_and_end_in_their_exercises() -> None:
    for number, page in enumerate(PAGES, 1):
        text = page.path.read_text("utf-8")
        assert page.number == number and text.startswith(f"# {page.title}\n")
        asked = re.findall(r"^\d\. `(\w+)", text.split("## Exercises")[1], re.MULTILINE)
        assert asked == [exercise.name for exercise in page.exercises]
        assert f"micrornn learn check {number} answers.py" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_what_is_shown_can_be_pasted(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = CliRunner().invoke(cli, ["learn", "show", str(page.number)]).stdout
    code = re.findall(r"^```\w+\n(.*?)^```$", page.path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(code) > 5 and all(f"\n{block}" in shown for block in code)
    assert "```" not in shown and page.title in shown


def test_pages_leave_the_names_of_the_exercises_alone() -> None:
    """So that a page may be pasted into the file of the answers."""
    asked = {exercise.name for page in PAGES for exercise in page.exercises}
    for page in PAGES:
        code = re.findall(r"^```python\n(.*?)^```$", page.path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        assert not asked & set(lines_of(ast.parse("".join(code)))), page.file


def test_commands(answers: Path) -> None:
    def run(*words: str):
        return CliRunner().invoke(cli, ["learn", *words])

    listed = run()
    assert listed.exit_code == 0 and all(page.title in listed.stdout for page in PAGES)
    assert len(json.loads(run("--json").stdout)["pages"]) == 6
    for words, example in (("show", "show 1"), ("check", "check 1 answers.py"), ("check 2", "check 1 answers.py")):
        done = run(*words.split())
        assert done.exit_code == 2 and f"For example: micrornn learn {example}" in done.stderr
    done = run("check", "6", str(answers))
    assert done.exit_code == 0 and "3 of 3 right" in done.stdout
    with pytest.raises(ConfigError, match="there are 1 to 6"):
        find("7")
    with pytest.raises(DataError, match="name the file with your answers"):
        check(PAGES[0], answers.parent / "nothing.py")
