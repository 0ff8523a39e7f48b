"""`micrornn sample`: let a trained model write, character by character as it draws them."""

from __future__ import annotations

import click

# On a terminal, a model that has learned an escape character must not take over the screen: it is drawn.
_DRAWN: dict[int, int] = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_DRAWN |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


@click.command(short_help="Let a trained model write.")
@click.argument("run")
@click.option("--prompt", default="", help="What the text begins with; the model goes on from there.")
@click.option("--length", type=click.IntRange(1), default=500, show_default=True,
              help="Characters (or words) to draw.")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True,
              help="Below 1 it keeps to what it is sure of; 0 always takes the likeliest.")  # fmt: skip
@click.option("--top-k", type=click.IntRange(0), default=0, show_default=True,
              help="Draw from the K likeliest only; 0: from all.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same text.")
@click.option("--best/--last", default=True, show_default=True,
              help="Of a run folder: its best checkpoint (by validation), or its last.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object when all is drawn, instead of the text.")
def sample(run: str, prompt: str, length: int, temperature: float, top_k: int, seed: int, best: bool,
           as_json: bool) -> None:  # fmt: skip
    """Let a trained model write.

    RUN is a run folder, or a checkpoint file. The text goes to stdout as it is drawn: first the prompt, then
    what the model makes of it, and nothing else.

    \b
    Examples:
      micrornn sample runs/2026-11-20-120000-lstm
      micrornn sample runs/... --prompt "def " --temperature 0.5 --length 2000
      micrornn sample runs/... --seed 7 --json | jq -r .text
    """
    import json
    import sys

    from micrornn.runs import load_run
    from micrornn.tasks.text import sample as draw
    from micrornn_cli.waiting import compiling

    with compiling(quiet=as_json):
        model, vocab, _ = load_run(run, "best" if best else "last")
        pieces = draw(model, vocab, length=length, prompt=prompt, temperature=temperature, top_k=top_k, seed=seed)
        if as_json:
            settings = {"length": length, "temperature": temperature, "top_k": top_k, "seed": seed}
            click.echo(json.dumps({"run": run, "prompt": prompt, "text": "".join(pieces)} | settings))
            return
        terminal, last = sys.stdout.isatty(), "\n"
        for n, piece in enumerate(pieces):
            shown = (prompt if n == 0 else "") + piece
            click.echo(shown.translate(_DRAWN) if terminal else shown, nl=False)
            last = shown[-1:] or last
    if terminal and last != "\n":  # the shell's own prompt begins on a line of its own
        click.echo()
