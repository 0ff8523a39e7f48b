"""Wrong options of layers and optimizers: an error of the library's own that names the option and what was meant.

The tables of what there is are read from `import micrornn`: a layer or an optimizer that comes is tried, too.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import micrornn as mr
from micrornn.errors import ConfigError, MicrornnError, OptionError, ShapeError, instead

LAYERS: dict[type, tuple[Any, ...]] = {  # with what each is made
    mr.LSTM: (3, 4), mr.GRU: (3, 4), mr.RNN: (3, 4), mr.Recurrent: ("mgu", 3, 4), mr.Linear: (3, 4),
    mr.Embedding: (10, 4), mr.Dropout: (0.5,),
}  # fmt: skip
RECURRENT = [kind for kind in LAYERS if issubclass(kind, mr.Recurrent)]
OPTIMIZERS = [found for name in mr.optim.__all__ if inspect.isclass(found := getattr(mr.optim, name))
              and issubclass(found, mr.optim.Optimizer) and found is not mr.optim.Optimizer]  # fmt: skip
X = np.zeros((5, 2, 3), np.float32)


def model() -> Any:
    return mr.Linear(3, 1)


def told(call: Any, *given: Any, **options: Any) -> str:
    """The message of an error of the library's own, in lines that are not too long."""
    with pytest.raises(MicrornnError) as caught:
        call(*given, **options)
    assert all(len(line) <= 160 for line in str(caught.value).splitlines())
    return str(caught.value)


def test_all_layers_are_tried() -> None:
    there = [getattr(mr, name) for name in mr.FACE]
    assert set(LAYERS) == {one for one in there if inspect.isclass(one) and issubclass(one, mr.Module)} - {mr.Module}


@pytest.mark.parametrize("kind", [*LAYERS, *OPTIMIZERS])
def test_an_option_that_there_is_not_names_one_that_there_is(kind: type) -> None:
    given = LAYERS.get(kind) or (model(),)
    slip = {"seed": "sed"} if kind in LAYERS else {"schedule": "shedule"}
    for right, wrong in (
        {"granularity": "granularty", "bidirectional": "bidirectionl"} if kind in RECURRENT else slip
    ).items():
        message = told(kind, *given, **{wrong: 1})
        assert message.startswith(f"{kind.__name__} has no option '{wrong}'") and right in message
    with pytest.raises(TypeError):  # who knows Python's own error catches this one
        kind(*given, nothing_like_it=1)


@pytest.mark.parametrize("kind", [*LAYERS, *OPTIMIZERS])
def test_what_is_missing_or_too_much_is_told(kind: type) -> None:
    given = LAYERS.get(kind) or (model(),)
    first = next(iter(inspect.signature(kind).parameters))
    assert told(kind).startswith(f"{kind.__name__} needs {first}")
    assert f"{kind.__name__} takes" in told(kind, *given, *[1] * 9)
    assert "is given twice" in told(kind, *given, **{first: given[0]})


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind is not mr.Dropout])
@pytest.mark.parametrize("size", [0, -3, 1.5, "eight", None, True])
def test_sizes(kind: type, size: Any) -> None:
    given = LAYERS[kind]
    name = list(inspect.signature(kind).parameters)[len(given) - 1]
    assert told(kind, *given[:-1], size).startswith(f"{kind.__name__}: {name} must be")


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind is not mr.Dropout])
def test_the_rest_that_layers_share(kind: type) -> None:
    given = LAYERS[kind]
    for dtype in ("float16", int, "no type", 3):
        assert told(kind, *given, dtype=dtype).startswith(f"{kind.__name__}: the precision is float32 or float64")
    assert told(kind, *given, seed=-1).startswith(f"{kind.__name__}: seed")
    wrong: Any = {"weight_hh": "glorot"} if kind in RECURRENT else "glorot"
    name = "initializers" if kind in RECURRENT else "initializer"
    assert "is a function of (rng, shape)" in told(kind, *given, **{name: wrong})


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize(
    "name, value, words",
    [
        ("dropout", 1.5, "must be 0 or more and below 1, not 1.5"), ("dropout", "half", "must be a number"),
        ("dropout", float("nan"), "below 1, not nan"), ("clip_message", -1, "must be 0 or more"),
        ("bidirectional", "both", "must be True or False"), ("granularity", "steps", "choose one of primitive, cell"),
        ("forget_bias", "open", "must be a number"), ("learn_initial", 3, "must be True or False"),
        ("initializers", {"weights": None}, "no initializer of 'weights'"),
    ],
)  # fmt: skip
def test_options_of_recurrent_layers(kind: type, name: str, value: Any, words: str) -> None:
    message = told(kind, *LAYERS[kind], **{name: value})
    assert message.startswith(f"{kind.__name__}: ") and words in message


CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any], type, str]] = [
    (mr.LSTM(3, 4), (X[0],), {}, ShapeError, r"x has shape \(2, 3\), wanted \(seq_len, batch_size, 3\)"),
    (mr.GRU(3, 4), (X[:, :, :2],), {}, ShapeError, r"x has shape \(5, 2, 2\), wanted .* 3\)"),
    (mr.RNN(3, 4), ("text",), {}, ConfigError, "wanted real numbers, not str 'text'"),
    (mr.RNN(3, 4), (X * 1j,), {}, ConfigError, "not complex numbers"),
    (mr.LSTM(3, 4), (), {}, OptionError, r"LSTM.__call__ needs x; write"),
    (mr.LSTM(3, 4), (X,), {"length": [5, 5]}, OptionError, "no option 'length'; it has x, state, mask, lengths"),
    (mr.Linear(3, 4), (X[..., :2],), {}, ShapeError, r"x \(5, 2, 2\), weight \(4, 3\), .* here D = 3"),
    (mr.Linear(3, 4), (X, X), {}, OptionError, "Linear.__call__ takes 1 without a name at most"),
    (mr.Embedding(10, 4), ([[1, 10]],), {}, ShapeError, r"indices lie in 1\.\.10, wanted 0\.\.9"),
    (mr.Embedding(10, 4), ([[0.5]],), {}, ShapeError, "wanted integers, not float64"),
    (mr.Dropout(0.5), (None,), {}, ConfigError, "wanted real numbers, not NoneType"),
    (mr.optim.Adam(model()).update, (), {"clipnorm": 1}, OptionError, r"Adam.update has no option .* clip_norm"),
    (mr.optim.Optimizer(model(), "sgd").update, (), {}, ConfigError, "has no learning rate"),
    (mr.Training, ("adding",), {"data": 3}, ConfigError, "a Config, such as"),
    (mr.Training, (mr.Config(),), {}, OptionError, r"Training needs data; write Training\(config, data\)"),
    (mr.gradcheck, (abs,), {}, OptionError, "gradcheck needs tensors"),
    (mr.Config, (), {"hiden": 3}, OptionError, "Config has no setting 'hiden'; did you mean hidden_size?"),
    (mr.load, ("nowhere",), {"which": "newest"}, ConfigError, "best or last, not 'newest'"),
    (mr.Parameter, (3, "int"), {}, ConfigError, "the precision is float32 or float64, not 'int'"),
]  # fmt: skip


@pytest.mark.parametrize("call, given, options, error, words", CALLS)
def test_calls(call: Any, given: tuple[Any, ...], options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        call(*given, **options)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_options_of_optimizers(kind: type) -> None:
    name = kind.__name__
    for lr in (-1, float("nan"), float("inf"), "fast"):
        assert told(kind, model(), lr=lr).startswith(f"{name}: lr must be a number")
    assert "there is no schedule 'cosin'" in told(kind, model(), schedule="cosin")
    assert told(kind, model(), schedule=3).startswith(f"{name}: schedule is a text")
    assert "what is to be trained is a Module" in told(kind, 3) and "a Module" in told(kind, "adam")
    for option in mr.optim.OPTIMIZERS[name.lower()][2]:
        assert told(kind, model(), **{option: "much"}).startswith(f"{name}: {option} must be a number")
        assert option in told(kind, model(), **{option: -2})


def test_many_names_are_shortened_or_broken_into_lines() -> None:
    many = [f"{word}_{n}" for word in ("alpha", "beta", "gamma", "delta") for n in range(8)]
    assert instead("alpa_3", many) == "; did you mean alpha_3?"
    assert instead("gama", many) == "; did you mean gamma_0?"
    lines = instead("nothing", many).splitlines()
    assert len(lines) > 2 and len(lines[0]) < 70 and max(map(len, lines)) <= 100
    assert " ".join(" ".join(lines).split()) == "; choose one of " + ", ".join(many)
    assert instead("x", ["a", "b"], "it has") == "; it has a, b" and instead("x", []) == ""
    assert instead("x", map(str, range(1000))) == ""  # nobody reads that


def test_what_is_printed_says_what_it_is() -> None:
    assert repr(mr.Linear(3, 4)) == "<Linear: 16 parameters: weight (4, 3), bias (4,)>"
    assert repr(mr.Dropout(0.5)) == "<Dropout: 0 parameters>"
    assert repr(mr.optim.SGD(model(), lr=0.5)) == "<SGD: sgd, lr=0.5, 0 updates>"


def test_dropout_drops_other_numbers_at_each_call_unless_it_has_a_key() -> None:
    x = np.ones((4, 3, 8), np.float32)
    for layer, run in (
        (dropout := mr.Dropout(0.5, seed=1), dropout),
        (rnn := mr.GRU(8, 8, 2, dropout=0.5, seed=1), lambda x: rnn(x)[0]),
    ):
        drawn = [run(x).data.copy() for _ in range(3)]
        assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])
        again = mr.Dropout(0.5, seed=1) if layer is dropout else mr.GRU(8, 8, 2, dropout=0.5, seed=1)
        assert np.array_equal(drawn[0], again(x).data if layer is dropout else again(x)[0].data)
        setattr(layer, "key" if layer is dropout else "dropout_key", 7)
        assert np.array_equal(run(x).data, run(x).data)


def test_an_error_from_inside_stays_what_it_is() -> None:
    def broken(rng: Any, shape: Any) -> Any:
        raise TypeError("from the inside")

    with pytest.raises(TypeError, match="from the inside") as caught:
        mr.Linear(3, 4, initializer=broken)
    assert not isinstance(caught.value, MicrornnError)


def test_a_name_that_the_face_lacks() -> None:
    with pytest.raises(AttributeError, match=r"there is mr\.optim\.Adam$"):
        mr.Adam  # noqa: B018
