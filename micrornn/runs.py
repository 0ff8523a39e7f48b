"""Trained models, and the text they learned from, by the path of a run.

load_run(path)         a trained model, from a run folder or a checkpoint
load_model(...)        the same from what a checkpoint holds
own_text(meta)         the text that a run learns from: its training part and its held-out part
own_validation(meta)   the held-out part
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.checkpoint import RunFolder, StrPath, load
from micrornn.config import Config
from micrornn.data import Vocab, find, split, stdlib_sources, tokenize
from micrornn.data.text import Ids
from micrornn.errors import CheckpointError, ConfigError, DataError
from micrornn.tasks.text import LanguageModel

Progress = Callable[[int, int], None]


def load_parameters(model: LanguageModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy a checkpoint's parameters into a model. CheckpointError names the first that does not fit."""
    wanted = {f"parameter/{name}": p for name, p in model.flat.parameters.items()}
    given = {name: array for name, array in arrays.items() if name.startswith("parameter/")}
    for name in sorted(wanted.keys() ^ given.keys()):
        where = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(f"the checkpoint is of another model: it {where} {name}")
    for name, parameter in wanted.items():
        array = given[name]
        if array.shape != parameter.shape or array.dtype != parameter.dtype:
            raise CheckpointError(
                f"the checkpoint is of another model: {name} is {array.shape} {array.dtype}, "
                f"wanted {parameter.shape} {parameter.dtype}"
            )
        parameter.data[...] = array


def load_model(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any],
               where: str = "cpu") -> tuple[LanguageModel, Vocab]:  # fmt: skip
    """The model and vocabulary that a checkpoint holds, on the device `where`, whichever it was trained on."""
    try:
        config = dataclasses.replace(Config.from_dict(meta["config"], "the checkpoint"), device=where)
        vocab = Vocab.from_dict(meta["vocab"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint does not describe a language model: {error}") from None
    model = LanguageModel(config, vocab.size)
    load_parameters(model, arrays)
    return model, vocab


def load_run(path: StrPath, which: str = "best") -> tuple[LanguageModel, Vocab, dict[str, Any]]:
    """(model, vocabulary, the checkpoint's meta) of a run folder or of a checkpoint file.

    Of a folder it is best.ckpt if there is one, else last.ckpt; with which="last" it is always last.ckpt.
    meta["path"] is the file that was read.
    """
    file = Path(path)
    if file.is_dir():
        folder = RunFolder.open(file)
        file = folder.best if which == "best" and folder.best.is_file() else folder.last
        if not file.is_file():
            raise CheckpointError(f"{path}: this run has no checkpoint yet. Train it first.")
    arrays, meta = load(file)
    return *load_model(arrays, meta), meta | {"path": str(file)}


def own_text(meta: Mapping[str, Any], progress: Progress | None = None) -> tuple[Ids, Ids]:
    """The ids of the text that a run learns from, found through its config.toml: (training part, held-out part).

    meta    as `load_run` gives it
    """
    config, folder = Config.from_dict(meta["config"], "the checkpoint"), Path(meta["path"]).parent
    try:
        patterns = RunFolder.open(folder).config.get("files", [])
    except CheckpointError:
        raise CheckpointError(
            f"{meta['path']}: there is no config.toml beside it that says what text it learned from"
        ) from None
    paths = find(patterns) if patterns else stdlib_sources()
    tokens = tokenize(paths, config.level, max_size=config.vocab_size or None, progress=progress)
    if tokens.fingerprint != meta.get("text"):
        raise DataError("the text of this run has changed since")
    return split(tokens, config.val_fraction)


def own_validation(meta: Mapping[str, Any], progress: Progress | None = None) -> Ids:
    """The part of its own text that a run held out. ConfigError if it held nothing out."""
    if not Config.from_dict(meta["config"], "the checkpoint").val_fraction:
        raise ConfigError("this run held nothing out (--val-fraction 0)")
    return own_text(meta, progress)[1]
