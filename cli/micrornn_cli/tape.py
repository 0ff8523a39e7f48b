"""`micrornn tape`: print the tape of a small network, and which time step gave what to each weight."""

from __future__ import annotations

import click

from micrornn_cli.cellname import CellName

SIZE = click.IntRange(1, 1000)  # more than anybody reads


@click.command(short_help="Print the tape of a three-step network.")
@click.option("--cell", type=CellName(), default="rnn",
              show_default=True, help="Which cell: one of `micrornn cell list`.")  # fmt: skip
@click.option("--granularity", type=click.Choice(["primitive", "cell", "sequence"]), default="primitive",
              show_default=True,
              help="A record for every op, for every time step, or for the whole sequence.")  # fmt: skip
@click.option("--seq-len", type=SIZE, default=3, show_default=True, help="Time steps.")
@click.option("--hidden-size", type=SIZE, default=2, show_default=True, help="Units of the layer.")
@click.option("--batch-size", type=SIZE, default=1, show_default=True, help="Sequences side by side.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the weights.")
@click.option("--backward/--no-backward", default=True, show_default=True, help="Walk back, and show gradients.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all numbers.")
def tape(cell: str, granularity: str, backward: bool, as_json: bool, **sizes: int) -> None:
    """Print the tape of a small network: every op, value and gradient.

    One recurrent layer reads a sine wave and predicts its next number. Each line of the table is one record:
    what it computed, and the gradient that came back to it (- where nothing does). #3 is the result of record
    3. Below, what each time step gave to the gradient of each weight.

    \b
    Examples:
      micrornn tape
      micrornn tape --cell lstm --granularity cell
      micrornn tape --granularity sequence --seq-len 8 --batch-size 4
    """
    from micrornn import kernels
    from micrornn.tapeview import build, view
    from micrornn_cli import tapetable

    with kernels.use("reference"):  # plain NumPy: nothing to compile, and the numbers are the same
        recording = build(cell, granularity, **sizes)
        found = view(recording, backward)
    settings = {"cell": cell, "granularity": granularity, **sizes}
    if as_json:
        tapetable.print_json(found, settings)
    else:
        tapetable.show(found, settings)
