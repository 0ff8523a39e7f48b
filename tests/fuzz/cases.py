"""Case number -> a command over something damaged, and what is known of its end."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz import files
from fuzz.values import WORDS, damaged
from micrornn.config import Config

SEED = 9
TINY = ["--hidden-size=4", "--embedding-size=3", "--batch-size=1", "--num-steps=4", "--threads=1"]
SHORT = ["--num-updates=2", "--max-minutes=0.02", "--out=new", "--json"]
TRAIN = ["train", "text.txt", *TINY, "--num-updates=4", "--val-every=2", "--watch-gradients=2", "--out=run", "--json"]
RESUME = ["train", "--resume", "run", "--num-updates", "6", "--json"]
LOOK = ["inspect", "flow", "run", "--text", "text.txt", "--seq-len=4", "--batch-size=1", "--windows=1", "--json"]
USES = [RESUME, ["sample", "run", "--length=3"], ["eval", "run", "text.txt", "--json"], LOOK]
RARE = [
    ["gradcheck", "run", "--samples=1", "--json"],
    ["inspect", "weights", "run", "--text", "text.txt", "--html=page.html"],
    ["advise", "run", "--minutes=0.001", "--json"],
    ["train", "text.txt", "--init-from=run", *TINY, *SHORT],
]


@dataclass
class Case:
    """arguments and variables of a command; `fails`: its exit code cannot be 0; `small`: it has no reason to run out of
    memory."""

    kind: str
    arguments: list[str]
    fails: bool = False
    small: bool = True
    variables: dict[str, str] = field(default_factory=dict)


def _text(rng: Random) -> Case:
    bad = files.text(Path("bad.txt"), rng)
    prompt = Path("bad.txt").read_bytes().replace(b"\0", b"").decode("utf-8", "replace")
    commands = [
        (["train", "bad.txt", *TINY, *SHORT], bad),
        (["train", "bad.txt", "--level=word", *TINY, *SHORT], bad),
        (["eval", "run", "bad.txt", "--json"], bad),
        (["inspect", "states", "run", "--text", "bad.txt", "--seq-len=40", "--json"], bad),
        (["sample", "run", "--length=3", "--prompt", prompt], False),
        (["advise", "bad.txt", *TINY, "--minutes=0.001", "--json"], bad),
    ]  # fmt: skip
    return Case("text", *rng.choice(commands))


def _settings(rng: Random) -> Case:
    table = Config(hidden_size=4, embedding_size=3, batch_size=1, num_steps=4, threads=1, num_updates=2).to_dict()
    bad = files.settings(Path("bad.toml"), table, rng)
    # flags win, so that what is not wrong ends soon
    return Case("settings", ["train", "text.txt", "--config", "bad.toml", *SHORT, "--lr=0.01"], bad, small=False)


def _config(rng: Random) -> Case:
    table = Config(hidden_size=4, embedding_size=3, batch_size=1, num_steps=4, threads=1, num_updates=4, val_every=2,
                   watch_gradients=2).to_dict()  # fmt: skip
    bad = files.settings(Path("run/config.toml"), table | {"files": [os.path.abspath("text.txt")]}, rng)
    command = rng.choice(
        [RESUME, RESUME, ["eval", "run", "--json"], ["inspect", "credit", "run", "--seq-len=4", "--json"]]
    )
    unreadable = bad and command is RESUME  # the others look no further than for the text
    return Case("config.toml", command, unreadable, small=False)


def _checkpoint(rng: Random) -> Case:
    damage = rng.choice([files.meta, files.meta, files.meta, files.arrays, files.payload])
    bad = damage(Path("run/last.ckpt"), rng)
    shutil.copy("run/last.ckpt", "run/best.ckpt")
    return Case(damage.__name__, rng.choice(RARE if rng.random() < 0.1 else USES), bad)


def _lines(rng: Random) -> Case:
    name = rng.choice(["metrics.jsonl", "metrics.jsonl", "gradients.jsonl"])
    bad = files.lines(Path("run", name), rng)
    other = LOOK if name.startswith("gradients") else RARE[1]
    return Case(name, other if rng.random() < 0.3 else RESUME, bad)


NAMES = ["config.toml", "last.ckpt", "best.ckpt", "metrics.jsonl", "gradients.jsonl"]


def _folder(rng: Random) -> Case:
    """A run folder in which something else stands in the place of a file, or nothing."""
    made = rng.sample(NAMES, rng.randint(1, 2))
    for name in made:
        path = Path("run", name)
        path.unlink()
        how = rng.randrange(7)
        if how == 0:
            path.mkdir()
        elif how == 1:
            os.mkfifo(path)
        elif how == 2:
            path.symlink_to(rng.choice(["/dev/zero", "/dev/null", name, "nowhere", "/"]))
        elif how == 3:
            path.write_bytes(b"")
        elif how == 4:
            shutil.copy(Path("run", rng.choice([one for one in NAMES if Path("run", one).is_file()])), path)
    return Case("folder", rng.choice([*USES, *RARE] if rng.random() < 0.2 else USES))


def _tokens(rng: Random) -> Case:
    """What was kept of a text that was read before, damaged: it is read again."""
    for path in Path(os.environ["MICRORNN_CACHE"]).rglob("*"):
        if path.is_file() and rng.random() < 0.7:
            data = path.read_bytes()
            path.write_bytes(damaged(data, rng) if rng.random() < 0.7 else bytes(len(data)))
    return Case("tokens", rng.choice([RESUME, ["train", "text.txt", *TINY, *SHORT], ["eval", "run", "--json"]]))


NUMBERS = {
    "train": {entry.name: type(entry.default) for entry in dataclasses.fields(Config)},
    "sample": {"length": int, "temperature": float, "top_k": int, "top_p": float, "seed": int, "num_samples": int,
               "until": str, "prompt": str},
    "eval": {"batch_size": int, "num_steps": int},
    "inspect": {"seq_len": int, "batch_size": int, "windows": int, "fail_on": str},
    "tape": {"cell": str, "seq_len": int, "hidden_size": int},
}  # fmt: skip
LONG = {"length", "num_samples", "num_updates", "epochs", "max_minutes", "init_from"}  # what may rightly take for ever


def _flag(rng: Random) -> Case:
    command = rng.choice(["train"] * 6 + ["sample", "eval", "inspect", "tape"])
    name, word = rng.choice(list(NUMBERS[command])), rng.choice(WORDS)
    kind = NUMBERS[command][name]
    fails = _no_number(word, kind)
    if name in LONG and not fails:
        word = rng.choice(["0", "1", "-1"])
        fails = word == "-1" and kind is not str
    flag = "--" + name.replace("_", "-")
    given = [flag] if kind is bool else [f"{flag}={word}"]
    rest = {
        "train": ["text.txt", *(one for one in TINY + SHORT if not one.startswith(flag + "="))],
        "sample": ["run", *(() if name == "length" else ["--length=3"])],
        "eval": ["run", "text.txt", "--json"],
        "inspect": ["flow", "run", "--text", "text.txt", "--json"],
        "tape": ["--json"],
    }[command]
    if command == "train" and name in ("num_updates", "max_minutes"):
        rest = [one for one in rest if not one.startswith("--num-up")] + ["--max-minutes=0.002"] * (
            name == "num_updates"
        )
        rest += ["--num-updates=2"] * (name == "max_minutes")
    at = 1 if command == "inspect" else 0
    written = name in ("memory_budget", "watch_gradients")
    return Case("flag", [command, *rest[:at], *given, *rest[at:]], fails and not written, small=False)


def _no_number(word: str, kind: type) -> bool:
    if kind not in (int, float):
        return False
    try:
        kind(word)
        return False
    except (ValueError, OverflowError):
        return True


def _variable(rng: Random) -> Case:
    name, kind = rng.choice([pair for pair in NUMBERS["train"].items() if pair[0] not in LONG])
    word = rng.choice([word for word in WORDS if word])  # an empty variable is none
    written = name in ("memory_budget", "watch_gradients")
    fails = _no_number(word, kind) and not written
    given = [one for one in TINY + SHORT if not one.startswith(f"--{name.replace('_', '-')}=")]
    return Case("variable", ["train", "text.txt", *given], fails, False, {f"MICRORNN_{name.upper()}": word})


KINDS: list[tuple[int, Callable[[Random], Case]]] = [
    (15, _text), (15, _settings), (10, _config), (25, _checkpoint), (12, _lines), (10, _flag), (5, _variable),
    (5, _folder), (3, _tokens),
]  # fmt: skip


def case(number: int) -> Case:
    """Makes what the case needs in the working folder, where a run lies in `run` and its text in text.txt."""
    rng = Random(f"{SEED} {number}")
    weights, makers = zip(*KINDS)
    return rng.choices(makers, weights)[0](rng)
