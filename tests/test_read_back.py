"""A file with a hash that fits is not one to be trusted: whatever is in it is told in a line or two, with exit code 4,
and takes no more memory than the file is worth."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micrornn.checkpoint import RunFolder, archive, load, save, toml_dumps, toml_loads
from micrornn.config import CELL_NAMES, Config
from micrornn.data import Vocab, tokenize
from micrornn.errors import CheckpointError, MicrornnError
from micrornn.runs import load_model, load_run, own_task
from micrornn.tasks.text import LanguageModel, num_parameters
from micrornn.train import Training, run

SIZES = {"hidden_size": 6, "embedding_size": 4, "batch_size": 2, "num_steps": 6, "threads": 1}
CONFIG = Config(**SIZES, val_every=2, num_updates=4, watch_gradients=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained")
    (path / "text.txt").write_text("how much wood would a woodchuck chuck? " * 12)
    settings = CONFIG.to_dict() | {"task": "text", "files": [str(path / "text.txt")]}
    folder = RunFolder.create(path / "run", settings)
    list(run(Training(CONFIG, tokenize([path / "text.txt"], "char", path)), folder))
    folder.close()
    return path / "run"


@pytest.fixture(scope="module")
def tokens(trained):
    return tokenize([trained.parent / "text.txt"], "char", trained.parent)


def told(call) -> str:
    """What it is refused with: one or two lines, none of them long."""
    with pytest.raises(MicrornnError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) <= 3 and len(message) < 700, message
    return message


# Of `load`: what a zip file can be that `save` does not write. Each gets the payload and gives another one.


def rezip(payload: bytes, compression: int = zipfile.ZIP_STORED, **replaced: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(payload)) as old, zipfile.ZipFile(out, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, replaced.get(entry.filename.removesuffix(".npy"), old.read(entry)))
    return out.getvalue()


def with_field(payload: bytes, offset: int, value: bytes) -> bytes:
    """Another value in each entry of the zip's directory."""
    parts = payload.split(b"PK\x01\x02")
    return b"PK\x01\x02".join([parts[0], *(p[: offset - 4] + value + p[offset - 4 + len(value) :] for p in parts[1:])])


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def header_of(text: str) -> bytes:
    out = io.BytesIO()
    np.save(out, np.frombuffer(text.encode(), np.uint8))
    return out.getvalue()


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
ZIPS = {
    "compressed": lambda p: rezip(p, zipfile.ZIP_DEFLATED),
    "a shape beyond the bytes": lambda p: rezip(p, arr_1=npy(HUGE)),
    "a shape below the bytes": lambda p: rezip(p, arr_1=npy(HUGE.replace("1000000000000", "1"), bytes(80))),
    "objects": lambda p: rezip(p, arr_1=npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", bytes(8))),
    "no npy header": lambda p: rezip(p, arr_1=b"nothing"),
    "npy of the future": lambda p: rezip(p, arr_1=b"\x93NUMPY\x09\x00" + bytes(80)),
    "a version of zip": lambda p: with_field(p, 6, b"\xff\x00"),
    "encrypted": lambda p: with_field(p, 8, b"\x01\x00"),
    "an unknown compression": lambda p: with_field(p, 10, b"\x63\x00"),
    "a size beyond the file": lambda p: with_field(p, 24, b"\xff\xff\xff\x7f"),
    "deep JSON": lambda p: rezip(p, arr_0=header_of("[" * 100_000)),
    "an enormous number": lambda p: rezip(p, arr_0=header_of('{"meta": ' + "9" * 10_000 + ', "names": []}')),
    "no header": lambda p: rezip(p, arr_0=header_of("null")),
    "names that are no texts": lambda p: rezip(p, arr_0=header_of('{"meta": {}, "names": [1, 2]}')),
    "names that are the same": lambda p: rezip(p, arr_0=header_of(json.dumps({"meta": {}, "names": ["a"] * 7}))),
    "meta no table": lambda p: rezip(p, arr_0=header_of('{"meta": [], "names": []}')),
}


@pytest.mark.parametrize("case", ZIPS)
def test_what_save_does_not_write(trained, tmp_path, case):
    payload = (trained / "last.ckpt").read_bytes()[87:]
    changed = ZIPS[case](payload)
    assert changed != payload
    (tmp_path / "a.ckpt").write_bytes(archive._MAGIC + b"1\n" + hashlib.sha256(changed).hexdigest().encode() + b"\n")
    with open(tmp_path / "a.ckpt", "ab") as file:
        file.write(changed)
    assert "not written by micrornn" in told(lambda: load(tmp_path / "a.ckpt"))


# Of what stands in the meta: (change, words of the message); Ellipsis: take it away.
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
METAS = {
    "vocab null": ({"vocab": None}, "vocab must be a table"),
    "vocab of numbers": ({"vocab": {"kind": "char", "tokens": [1, 2]}}, "damaged vocabulary"),
    "vocab of another kind": ({"vocab": {"kind": [], "tokens": ["a"]}}, "kind"),
    "vocab twice the same": ({"vocab": {"kind": "char", "tokens": ["a", "a"]}}, "twice"),
    "config null": ({"config": None}, "config must be a table"),
    "config deep": ({"config": {"lr": DEEP}}, "lr must be a number"),
    "config unknown": ({"config": {"x" * 9999: 1}}, "no setting"),
    "config out of range": ({"config": {"hidden_size": -1}}, "hidden_size is -1"),
    "config larger": ({"config": CONFIG.to_dict() | {"hidden_size": 30_000}}, "its settings ask for 3,6"),
    "config deeper": ({"config": CONFIG.to_dict() | {"num_layers": 64}}, "its settings ask for"),
    "both directions": ({"config": CONFIG.to_dict() | {"bidirectional": True}}, "`bidirectional`"),
    "text a number": ({"text": 5}, "text must be a text"),
    "updates gone": ({"updates": ...}, "updates is missing"),
    "updates negative": ({"updates": -1}, "0 or more"),
    "updates true": ({"updates": True}, "whole number"),
    "seconds a text": ({"seconds": "x" * 9999}, "seconds must be a number"),
    "seconds infinite": ({"seconds": float("inf")}, "seconds is inf"),
    "epoch a float": ({"epoch": 1.5}, "epoch must be a whole number"),
    "window negative": ({"window": -1}, "window is -1"),
    "best a NaN": ({"best_val_loss": float("nan")}, "best_val_loss is nan"),
    "best gone": ({"best_val_loss": ...}, "best_val_loss is missing"),
    "history of numbers": ({"history": [1]}, "history[0] must be a table"),
    "history without a loss": ({"history": [{"update": 1}]}, "history[0]: tokens is missing"),
    "history gone": ({"history": ...}, "history is missing"),
    "pending a list": ({"pending": []}, "pending must be a table"),
    "pending empty": ({"pending": {}}, "pending: report is missing"),
    "of another task": ({"task": "chess"}, "task: there is no task 'chess'"),
}


def changed_meta(meta: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(meta) | change
    return {name: value for name, value in changed.items() if value is not ...}


@pytest.mark.parametrize("case", METAS)
def test_meta_with_a_hash_that_fits(trained, tokens, tmp_path, case):
    change, words = METAS[case]
    arrays, meta = load(trained / "last.ckpt")
    save(tmp_path / "a.ckpt", arrays, changed_meta(meta, change))
    message = told(lambda: load_run(tmp_path / "a.ckpt"))
    assert words in message and "a.ckpt" in message, message
    told(lambda: Training(CONFIG, tokens).restore(*load(tmp_path / "a.ckpt")))


N = num_parameters(CONFIG, 12)
ARRAYS = {
    "no parameter": ({"parameter/decoder.bias": ...}, "lacks parameter/decoder.bias"),
    "no optimizer": ({"optimizer/m": ...}, "lacks optimizer/m"),
    "one number that would be broadcast": ({"optimizer/m": np.zeros(1, "f4")}, "optimizer/m is (1,)"),
    "whole numbers": ({"optimizer/m": np.zeros(N, "i8")}, "optimizer/m is"),
    "infinite": ({"optimizer/v": np.full(N, np.inf, "f4")}, "optimizer/v holds NaN or infinity"),
    "one too many": ({"optimizer/w": np.zeros(N, "f4")}, "unknown optimizer/w"),
    "no carried state": ({"carried/0": ...}, "lacks carried/0"),
    "carried state of other lanes": ({"carried/1": np.zeros((1, 9, 6), "f4")}, "carried/1 is (1, 9, 6)"),
    "carried NaN": ({"carried/1": np.full((1, 2, 6), np.nan, "f4")}, "carried/1 holds NaN"),
    "a long name": ({"carried/" + "\x1b[2J" * 999: np.zeros(1)}, "unknown carried/"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_with_a_hash_that_fits(trained, tokens, case):
    change, words = ARRAYS[case]
    arrays, meta = load(trained / "last.ckpt")
    arrays = {name: array for name, array in (arrays | change).items() if array is not ...}
    training = Training(CONFIG, tokens)
    before = training.model.flat.data.copy()
    assert words in told(lambda: training.restore(arrays, meta))
    assert np.array_equal(training.model.flat.data, before)  # nothing of it was taken


def test_a_place_beyond_the_text_is_refused(trained, tokens):
    arrays, meta = load(trained / "last.ckpt")
    assert "window 999" in told(lambda: Training(CONFIG, tokens).restore(arrays, meta | {"window": 999}))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_parameters_are_counted_without_a_model(cell):
    for layers, tied in [(1, False), (3, False), (2, True)]:
        config = Config(cell=cell, num_layers=layers, tied=tied, **SIZES | ({"embedding_size": 6} if tied else {}))
        assert num_parameters(config, 7) == len(LanguageModel(config, 7).flat)


LIMITED = """
import re, resource, sys
from pathlib import Path
from micrornn.runs import load_run
load_run(sys.argv[1])  # all that it needs is imported
def peak():  # kB; ru_maxrss begins with what the process had that started this one
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (max(peak() * 4, 1_000_000) * 1024,) * 2)
from micrornn.errors import CheckpointError
try:
    load_run(sys.argv[2])
except CheckpointError as error:
    print(error)
print(peak() >> 10)
"""


def test_a_small_file_takes_little_memory(trained, tmp_path):
    """A few kilobytes that ask for 3.6 thousand million parameters."""
    arrays, meta = load(trained / "last.ckpt")
    save(tmp_path / "a.ckpt", arrays, changed_meta(meta, METAS["config larger"][0]))
    command = [sys.executable, "-c", LIMITED, str(trained), str(tmp_path / "a.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    message, megabytes = done.stdout.splitlines()
    assert "its settings ask for" in message and int(megabytes) < 1000, done.stderr


# Files of a run folder: what stands there, and what is said. A text is written, else it is called with the path.
IN_FOLDER = {
    "config.toml": {
        "deep": ("a = " + "[" * 99_999, "nested too deeply"),
        "an enormous number": ("hidden_size = " + "9" * 9999, "not valid TOML"),
        "a key of 40,000 parts": ("a." * 40_000 + "b = 1", "nested too deeply"),
        "a table of 40,000 parts": ("[a" + ".a" * 40_000 + "]", "nested too deeply"),
        "an inner key of 40,000 parts": ("a = {b" + ".b" * 40_000 + " = 1}", "nested too deeply"),
        "files a number": ("files = -1", "files must be a list, not -1"),
        "files of numbers": ("files = [1]", "files[0] must be a text"),
        "too large": ("#" * (2 << 20), "at most 1,048,576"),
        "no Unicode": (b"\xff\xfe\x00", "not valid TOML"),
        "a FIFO": (os.mkfifo, "not a regular file"),
        "a folder": (os.mkdir, "a directory"),
    },
    "metrics.jsonl": {
        "an update that is none": ('{"update": "x"}\n', "metrics.jsonl:1: update must be a whole number"),
        "no update": ("{}\n", "metrics.jsonl:1: update is missing"),
        "deep": ("[" * 99_999 + "\n", "metrics.jsonl:1: not one JSON object"),
        "an enormous number": ('{"update": ' + "9" * 9999 + "}\n", "metrics.jsonl:1"),
        "no object": ('[["update", 1]]\n', "metrics.jsonl:1"),
        "a FIFO": (os.mkfifo, "not a regular file"),
        "a folder": (os.mkdir, "a directory"),
    },
    "gradients.jsonl": {
        "an update that is none": ('{"update": 1, "every": 5}\n{"update": null}\n', "gradients.jsonl:2: update"),
        "nonsense": ("nonsense\n", "gradients.jsonl:1"),
        "a FIFO": (os.mkfifo, "not a regular file"),
    },
    "last.ckpt": {"a FIFO": (os.mkfifo, "not a regular file"), "a folder": (os.mkdir, "a directory")},
}


@pytest.mark.parametrize("name, case", [(name, case) for name, cases in IN_FOLDER.items() for case in cases])
def test_files_of_a_run_folder(trained, tokens, tmp_path, name, case):
    content, words = IN_FOLDER[name][case]
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).unlink()
    if callable(content):
        content(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def resume() -> None:
        folder = RunFolder.open(tmp_path)
        folder.files  # noqa: B018
        training = Training(CONFIG, tokens)
        training.restore(*folder.load_last())
        next(run(training, folder), None)

    message = told(resume)
    assert words in message and name in message


def test_many_dots_in_names_of_files_are_fine():
    table = {"files": ["a.b.c\\'\".d" * 50, "../" * 99], "lr": 0.5, "name": "#..." * 99}
    assert toml_loads(toml_dumps(table).encode()) == table


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_run_folder_without_its_config_is_known_by_its_checkpoint(trained, tmp_path, name):
    (tmp_path / name).write_bytes((trained / name).read_bytes())
    folder = RunFolder.open(tmp_path)
    assert Config.from_dict(folder.config) == CONFIG and folder.files is None
    _, _, meta = load_run(tmp_path)
    assert "no config.toml in it that says what text" in told(lambda: own_task(meta))


def test_a_folder_that_may_not_be_read_is_told_as_that(trained, tmp_path, monkeypatch):
    """As root one may read everything; so the system's answer is made up."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert "Permission denied" in told(lambda: RunFolder.open(tmp_path / "run"))
    assert "not a run folder" not in told(lambda: RunFolder.open(tmp_path / "run"))


@pytest.mark.parametrize("data", [None, [], {"kind": "char"}, {"kind": "byte?", "tokens": ["a"]}])
def test_vocabularies(data):
    told(lambda: Vocab.from_dict(data))


def test_a_good_checkpoint_is_good(trained, tokens):
    arrays, meta = load(trained / "last.ckpt")
    load_model(arrays, meta)
    Training(CONFIG, tokens).restore(arrays, meta)
    with pytest.raises(CheckpointError, match="of another model"):
        load_model({name: arrays[name] for name in arrays if "decoder" not in name}, meta)
