"""Checkpoints and run folders: what is written comes back to the bit, or one clear line says why not."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micrornn.checkpoint import RunFolder, default_run_path, load, save, toml_dumps
from micrornn.errors import CheckpointError

dtypes = st.sampled_from(["bool", "uint8", "int32", "float32", "float64", ">f4"])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
names = st.text() | st.sampled_from(["a", "a.npy", "file", "allow_pickle", "arr_0", "nul\0"])  # npz trips over
scalars = st.text() | st.integers() | st.floats() | st.booleans()
metas = st.dictionaries(st.text(), st.recursive(st.none() | scalars, st.lists, max_leaves=5), max_size=4)


@contextlib.contextmanager
def refused(*words: object) -> Iterator[None]:
    """A CheckpointError of one or two lines that has these words in it."""
    with pytest.raises(CheckpointError) as excinfo:
        yield
    message = str(excinfo.value)
    assert len(message.splitlines()) <= 2 and all(str(word) in message for word in words), message


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Not a mock: write(2) itself fails midway."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    save(path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"update": 7})
    return path


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, arrays, max_size=4), metas)
def test_round_trip(tmp_path_factory, arrays, meta):
    path = tmp_path_factory.getbasetemp() / "round.ckpt"
    save(path, {name: array.T for name, array in arrays.items()}, meta)  # .T: not C-contiguous
    got, got_meta = load(path)
    assert json.dumps(got_meta) == json.dumps(meta)  # tells -0.0, 0 and False apart, and NaN is NaN
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.T.shape
        assert got[name].tobytes() == array.T.tobytes()
        assert got[name].flags.c_contiguous and got[name].flags.writeable


# The first line of a file is its bytes 0 to 21, the checksum line 22 to 86.
NOTHING = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of no bytes
DAMAGES = {
    "empty": (lambda data: b"", "damaged: truncated"),
    "cut in the first line": (lambda data: data[:9], "damaged: truncated"),
    "cut in the middle": (lambda data: data[: len(data) // 2], "damaged: truncated"),
    "cut by one byte": (lambda data: data[:-1], "damaged: truncated"),
    "one byte more": (lambda data: data + b"0", "damaged:"),
    "one byte other": (lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], "match its checksum"),
    "no checksum": (lambda data: data[:22] + data[87:], "damaged:"),
    "version 12": (lambda data: data[:20] + b"12" + data[21:], "Upgrade"),
    "npz alone": (lambda data: data[87:], "not a micrornn checkpoint"),
    "no npz": (lambda data: data[:22] + NOTHING + data[86:87], "not written by micrornn"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(ckpt, damage):
    change, words = DAMAGES[damage]
    ckpt.write_bytes(change(ckpt.read_bytes()))
    with refused(ckpt, words):
        load(ckpt)


def test_one_flipped_byte_anywhere_is_noticed(ckpt):
    data = ckpt.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(len(data)):
        for mask in (0x01, 0x20, int(rng.integers(1, 256))):  # 0x20: A for a in the hex digits
            ckpt.write_bytes(data[:i] + bytes([data[i] ^ mask]) + data[i + 1 :])
            with refused(ckpt):
                load(ckpt)
    ckpt.write_bytes(data)
    load(ckpt)


def test_what_cannot_be_read_or_written(tmp_path):
    with refused("none.ckpt", "No such file"):
        load(tmp_path / "none.ckpt")
    with refused(tmp_path, "directory"):
        load(tmp_path)
    with refused("none", "No such file", "Make the folder first"):
        save(tmp_path / "none" / "a.ckpt", {}, {})
    os.mkfifo(tmp_path / "pipe")  # stands for /dev/null, which root would lose to a rename
    for not_a_file in (tmp_path, tmp_path / "pipe"):
        with refused(not_a_file, "not a regular file"):
            save(not_a_file, {}, {})
    with pytest.raises(TypeError, match="Python objects"):
        save(tmp_path / "a", {"o": np.array([{}], dtype=object)}, {})
    with pytest.raises(TypeError, match="set cannot be written"):
        save(tmp_path / "a", {}, {"s": {1}})
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"] and (tmp_path / "pipe").is_fifo()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(ckpt):
    before = ckpt.read_bytes()
    big = np.ones(100_000)
    full = mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left"))
    with full, refused(ckpt, "No space left", "untouched", "Free some space"):
        save(ckpt, {"w": big}, {})
    read_only = mock.patch("os.replace", side_effect=OSError(errno.EROFS, "Read-only file system"))
    with read_only, refused(ckpt, "Read-only file system", "untouched", "Choose a folder"):
        save(ckpt, {"w": big}, {})
    with file_size_limit(4096), refused(ckpt, "File too large", "untouched", "ulimit -f"):
        save(ckpt, {"w": big}, {})
    with mock.patch("os.fsync", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        save(ckpt, {"w": big}, {})
    assert ckpt.read_bytes() == before
    assert list(ckpt.parent.iterdir()) == [ckpt]


def test_a_stale_temporary_file_goes_a_link_stays_and_the_mode_is_a_new_files(ckpt):
    stale = ckpt.parent / ".a.ckpt.tmp"
    stale.write_bytes(b"left by a killed process")
    stale.chmod(0o400)
    link = ckpt.parent / "link.ckpt"
    link.symlink_to(ckpt.name)
    old_umask = os.umask(0o027)
    try:
        save(link, {}, {"update": 8})
    finally:
        os.umask(old_umask)
    assert sorted(ckpt.parent.iterdir()) == [ckpt, link] and link.is_symlink()
    assert ckpt.stat().st_mode & 0o777 == 0o640
    assert load(ckpt)[1] == {"update": 8}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run as another user")
def test_a_folder_without_permission(ckpt):
    ckpt.parent.chmod(0o500)
    try:
        with refused("Permission denied", "untouched", "that you may write to"):
            save(ckpt, {}, {})
        with refused("Permission denied", "that you may write to"):
            RunFolder.create(ckpt.parent / "run", {})
    finally:
        ckpt.parent.chmod(0o700)
    load(ckpt)


# Forks its victims, so that NumPy is imported once and not twenty times.
KILLER = """
    import os, random, signal, sys, time
    import numpy as np
    from micrornn.checkpoint import RunFolder, load

    path, delays, torn = sys.argv[1], random.Random(0), 0
    RunFolder.create(path, {"seed": 1})
    for kill in range(20):
        child = os.fork()
        if child == 0:
            run = RunFolder.open(path)
            _, meta = run.load_last() or (None, {"update": 0})
            run.truncate_metrics(meta["update"])
            for update in range(meta["update"] + 1, 10**9):
                run.append_metrics({"update": update})
                best = update if update % 2 else update - 1
                run.save({"w": np.full(100_000, update)}, {"update": update, "best": best}, best == update)
        time.sleep(delays.uniform(0.02, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        torn += any(name.endswith(".tmp") for name in os.listdir(path))
        run = RunFolder.open(path)
        arrays, meta = run.load_last() or ({"w": np.zeros(1)}, {"update": 0})
        assert (arrays["w"] == meta["update"]).all()
        if meta["update"]:  # best.ckpt is what last.ckpt says, or the next one
            assert load(run.best)[1]["update"] in (meta["best"], meta["update"] + 1), meta
        rows = [row["update"] for row in run.metrics()]
        assert rows[: meta["update"]] == list(range(1, meta["update"] + 1)), (rows, meta)
    print(meta["update"], torn)
"""


def test_killed_at_any_moment_a_run_can_resume(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLER), str(tmp_path / "run")]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    updates, torn = map(int, done.stdout.split())
    assert updates > 0 and torn > 0, "no kill fell into a save"


def test_run_folder(tmp_path):
    path = tmp_path / "deep" / "run 1"
    config = {"cell": "lstm", "lr": 1e-3, "sizes": [1, 2], "ok": True, "file": "not Unicode \udcff"}
    run = RunFolder.create(path, config | {"clip": None})
    assert run.config == config
    assert not run.has_checkpoint and run.load_last() is None and run.metrics() == []
    run.truncate_metrics(0)
    run.close()
    assert [entry.name for entry in path.iterdir()] == ["config.toml"]
    run.save({"w": np.ones(2)}, {"update": 1}, best=True)
    run.save({"w": np.zeros(2)}, {"update": 2}, best=False)
    again = RunFolder.open(path)
    assert again.config == config and again.has_checkpoint
    assert load(again.last)[1] == {"update": 2} and load(again.best)[1] == {"update": 1}

    run.last.unlink()
    run.last.mkdir()  # so that the second of two files cannot be written: best.ckpt may be ahead, not behind
    with refused("last.ckpt"):
        run.save({}, {"update": 3}, best=True)
    assert load(run.best)[1] == {"update": 3}


def test_folders_in_the_way_and_folders_that_are_no_run(tmp_path):
    for path, words in [(tmp_path / "none", "no such folder"), (tmp_path, "not a run folder")]:
        with refused(path, words):
            RunFolder.open(path)
    run = tmp_path / "run 1"
    run.mkdir()
    (run / ".config.toml.tmp").write_text("killed before it was a run")
    RunFolder.create(run, {"a": 1})
    with refused(run, f"`resume='{run}'`", "another `out`"):
        RunFolder.create(run, {})
    with refused("config.toml", "File exists"):
        RunFolder.create(run / "config.toml", {})
    (run / "config.toml").write_text("a = = 1")
    with refused("config.toml", "not valid TOML"):
        RunFolder.open(run)


def test_metrics(tmp_path):
    run = RunFolder.create(tmp_path / "run", {})
    for i in range(5):
        run.append_metrics({"update": i, "loss": np.float32(i / 3)})
        assert len(run.metrics()) == i + 1  # out, and not in a buffer
    run.truncate_metrics(3)
    with file_size_limit(4096), refused("metrics.jsonl", "File too large"):
        run.append_metrics({"update": 4, "note": "x" * 5000})
    assert run.metrics_path.stat().st_size == 4096  # torn
    assert [row["update"] for row in run.metrics()] == [0, 1, 2, 3]
    run.append_metrics({"update": 4, "loss": math.inf})
    run.close()
    rows = map(json.loads, run.metrics_path.read_text().splitlines())
    assert [row["update"] for row in rows] == [0, 1, 2, 3, 4]

    run.metrics_path.write_text('{"update": 1}\nnonsense\n{"update": 2}\n')
    with refused("metrics.jsonl:2:"):
        run.metrics()


def test_default_run_path(tmp_path):
    now = datetime.datetime(2026, 11, 20, 14, 30, 5)
    for end in ("lstm", "lstm-2", "lstm-3"):
        path = default_run_path("lstm", tmp_path, now)
        assert path == tmp_path / f"2026-11-20-143005-{end}"
        path.mkdir()
    assert default_run_path("gru").parent == Path("runs")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), scalars | st.lists(scalars), max_size=5))
def test_toml_round_trip(table):
    assert json.dumps(tomllib.loads(toml_dumps(table))) == json.dumps(table)


def test_toml_spelling_and_numpy_scalars():
    table = {"a b": "\x7f\U0001f600\n", "n": np.int64(3), "x": np.float64(0.1), "no": None}
    assert toml_dumps(table) == '"a b" = "\\u007f\U0001f600\\n"\nn = 3\nx = 0.1\n'
    assert toml_dumps({"y": [np.float32("inf")]}) == "y = [inf]\n"
    for bad in ({}, [None], object()):
        with pytest.raises(TypeError):
            toml_dumps({"a": bad})
