"""`micrornn sample`: let a trained model write, character by character as it draws them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from micrornn.printable import printable
from micrornn_cli import console
from micrornn_cli.arguments import PATH, Finite
from micrornn_cli.exits import Exit
from micrornn_cli.options import best_or_last, unseen
from micrornn_cli.streams import silence_unread, unread
from micrornn_cli.waiting import compiling


@click.command(short_help="Let a trained model write.")
@click.argument("run", type=PATH)
@click.option("--prompt", default="", help="What the text begins with; the model goes on from there.")
@unseen("--prompt")
@click.option("--length", type=click.IntRange(1), default=500, show_default=True,
              help="Characters (or words, or bytes) to draw.")  # fmt: skip
@click.option("--until", metavar="TEXT",
              help="Stop when this has been written; at --length at the latest.  [the end of the line, if the run "
              "has --lines]")  # fmt: skip
@click.option("--endless", is_flag=True, help="Write on until --until or Ctrl-C, whatever --length is.")
@click.option("--num-samples", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="So many texts, each with a seed of its own: --seed, the next, ...")  # fmt: skip
@click.option("--temperature", type=Finite(0), default=1.0, show_default=True,
              help="Below 1 it keeps to what it is sure of; 0 always takes the likeliest.")  # fmt: skip
@click.option("--top-k", type=click.IntRange(0), default=0, show_default=True,
              help="Draw from the K likeliest only; 0: from all.")  # fmt: skip
@click.option("--top-p", type=Finite(0, 1, min_open=True), default=1.0, show_default=True,
              help="Draw from the likeliest that together have this probability; 1: from all.")  # fmt: skip
@click.option("--allow-unknown", is_flag=True,
              help="Draw the token too that stands for what the vocabulary left out.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same text.")
@best_or_last
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each text, instead of the text.")
def sample(run: str, prompt: str, length: int, until: str | None, endless: bool, num_samples: int, which: str,
           as_json: bool, **how: Any) -> None:  # fmt: skip
    """Let a trained model write.

    RUN is a run folder, or a checkpoint file. The text goes to stdout as it is drawn: first the prompt, then
    what the model makes of it, and nothing else. Several texts are headed by their seeds.

    \b
    Examples:
      micrornn sample runs/2026-11-20-120000-lstm
      micrornn sample runs/... --prompt "def " --temperature 0.5 --length 2000
      micrornn sample runs/... --until "$(printf '\\n\\n')" --num-samples 3
      micrornn sample runs/... --seed 7 --json | jq -r .text
    """
    from micrornn.runs import load_run
    from micrornn.sampling import sample as draw

    if until == "":
        raise click.UsageError("--until is empty; leave it out to write until --length")
    if endless and (as_json or num_samples > 1):
        raise click.UsageError("--endless writes one text without end; it goes neither with --json nor --num-samples")
    unseen = how.pop("unseen") or ""
    settings = {"length": length} | how
    options = settings | {"unseen": unseen} | {"length": None if endless else length, "until": until or ""}
    usual = {"top_p": 1.0, "allow_unknown": False}  # told only where it is otherwise
    settings = {name: value for name, value in settings.items() if usual.get(name, ...) != value}
    settings |= {"until": until} if until else {}
    with compiling(quiet=as_json):
        model, vocab, _ = load_run(run, which)
        _tell_unseen(vocab, prompt, unseen)
        if model.config.lines and not endless:
            options["until"] = options["until"] or "\n"
        for seed in range(how["seed"], how["seed"] + num_samples):
            pieces = draw(model, vocab, prompt=prompt, **options | {"seed": seed})
            if as_json:
                console.write_json({"run": run, "prompt": prompt, "text": "".join(pieces)} | settings | {"seed": seed})
                continue
            if num_samples > 1:
                click.echo(f"--- seed {seed} ---")
            _stream(prompt, pieces, whole_line=num_samples > 1)


def _tell_unseen(vocab: Any, prompt: str, unseen: str) -> None:
    """On stderr, if symbols of the prompt are read as others or not at all."""
    from micrornn.data import UNITS, Encoder
    from micrornn.errors import counted

    encoder = Encoder(vocab, unseen, "--prompt")
    for _ in encoder.encode([prompt] if prompt else []):
        pass
    if encoder.found.count:
        done = "left out" if encoder.unseen == "skip" else "read as unknown"
        all_ = counted(encoder.found.total, *UNITS[vocab.kind])
        told = f"--prompt: {encoder.found.count:,} of {all_} unseen in training, {done}"
        click.echo(told, err=True)


def _stream(prompt: str, pieces: Iterator[str], whole_line: bool) -> None:
    """The prompt and the pieces, as they come; with whole_line, or on a terminal, up to the end of a line."""
    terminal, last = sys.stdout.isatty(), "\n"
    if not terminal and (sys.stdout.encoding or "").lower() == "utf-8" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # bytes go into a file as they are
    try:
        for n, piece in enumerate(pieces):
            shown = (prompt if n == 0 else "") + piece
            # what a model has learned must not take over the screen; into a file it goes as it is
            click.echo(printable(shown) if terminal else shown, nl=False)
            last = shown[-1:] or last
        if (terminal or whole_line) and last != "\n":  # what follows, such as the shell's own prompt, begins a line
            click.echo()
    except OSError as error:
        if not unread(error):
            raise
        silence_unread()  # `micrornn sample ... | head`: that is fine
        raise click.exceptions.Exit(Exit.OK) from None
