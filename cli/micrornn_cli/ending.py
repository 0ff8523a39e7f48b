"""What `micrornn train` prints when it is done: how well it went, a sample, where the run lies and what to do next."""

from __future__ import annotations

from rich.text import Text

from micrornn.errors import DivergedError, counted
from micrornn.printable import cells, printable, shell_word
from micrornn.sampling import typical
from micrornn.train import Training
from micrornn_cli.console import duration, err, out, program
from micrornn_cli.flags import flags
from micrornn_cli.progress import measure

# At 0.6, a model of Python's sources writes nothing but indentation in every second text; at 0.8 hardly ever.
TEMPERATURE, DRAWS, LENGTH, SECONDS = 0.8, 8, 400, 4.0
SHORT, HIGH_LR, LOW_LR, MANY_WORDS = 1000, 0.02, 0.001, 10_000  # bounds for the advice where nothing was learned


def conclude(training: Training, own_files: bool, where: str, again: str, stopped: bool) -> None:
    """Print what came of the run, and what can be done next."""
    if stopped:
        words = f"\nstopped after update {training.updates:,}; the checkpoint is written. To go on:\n  {again}"
        err.print(Text(words), soft_wrap=True)
        return
    place, text = shell_word(where), training.task.vocab is not None
    if text:
        _result(training, again)
        _sample(training, own_files)
    else:
        _score(training)
    on = "with more patience" if training.gave_up() else "for as long again"
    commands = {f"{program()} sample {place}": "let it write more"} if text else {}
    commands |= {
        f"{program()} eval {place}": "its loss" if text else "its metrics",
        _further(training, again): f"train on, {on}",
    }
    err.print(Text.assemble("\nThe run lies in ", (where, "bold")), soft_wrap=True)
    err.print(_listed(commands, err.width), soft_wrap=True)


def _score(training: Training) -> None:
    """For a task without text: the best loss beside a baseline without a network."""
    best, baseline = training.best_val_loss, training.task.baseline
    if best is None:
        return
    beside = "" if baseline is None else f" ({baseline[0]}: {baseline[1]:.4g})"
    score, words = training.best_score, f"Best validation loss [bold green]{best:.4g}[/]"
    if score is not None and training.chooses is not None:
        words = f"Best {training.chooses.name} [bold green]{score:.4g}[/], with a validation loss of {best:.4g}"
    err.print()
    words = f"{words} {training.task.metrics[0].unit}".rstrip() + f"{beside}."
    err.print(f"{counted(training.updates, 'update')} in {duration(training.seconds)}. {words}")
    if baseline is not None and best >= baseline[1]:
        err.print("It is no better yet than what takes no network.", style="yellow")


def _result(training: Training, again: str) -> None:
    """The best loss beside that of guessing by frequency alone; if it is not better, advice."""
    kind, best, baseline = training.task.vocab.kind, training.best_val_loss, training.task.baseline
    if best is None or baseline is None:
        return
    guess = baseline[1]
    err.print()
    if training.gave_up():
        last = training.history[-1 - training.stale]["update"]
        err.print(f"No better for {counted(training.stale, 'validation')} than after update {last:,}: that is the end.")
    err.print(
        f"{counted(training.updates, 'update')} in {duration(training.seconds)}. Best validation loss "
        f"{best:.3f} nats = [bold green]{measure(kind, best)}[/] (by frequency alone: {measure(kind, guess)})."
    )
    if not training.task.tokens.entropy:
        err.print("There was nothing to learn: all tokens of the text are the same one.", style="yellow")
    elif best >= guess:
        err.print(
            "It has learned nothing yet of what follows what: to know how frequent each token is does as well.",
            style="yellow",
        )
        err.print(
            "Try\n" + "\n".join(f"  - {words}" for words in _remedies(training, again)),
            style="yellow", markup=False, soft_wrap=True,
        )  # fmt: skip


def _further(training: Training, again: str, updates: int = 0) -> str:
    """The command that continues the training: for as long again, or up to so many updates."""
    if training.gave_up():  # more updates would end at once
        return f"{again} --patience {2 * training.config.patience}"
    return f"{again} --num-updates {updates or 2 * training.updates}"


def _remedies(training: Training, again: str) -> list[str]:
    config, vocab = training.config, training.task.vocab
    tries = []
    if training.updates < SHORT:
        command = _further(training, again, max(SHORT, 10 * training.updates))
        tries.append(f"{'more patience' if training.gave_up() else 'more updates'}:\n      {command}")
    if config.lr > HIGH_LR or config.lr < LOW_LR:
        tries.append(f"a {'lower' if config.lr > HIGH_LR else 'higher'} learning rate, in a new run: --lr 0.006")
    if vocab.kind == "word" and vocab.size > MANY_WORDS:
        tries.append(f"fewer words, in a new run: --vocab-size {MANY_WORDS // 2}; or characters: --level char")
    return tries or ["other settings: `micrornn advise` measures which ones suit a text"]


def _sample(training: Training, own_files: bool) -> None:
    """Let the model write a text that shows what it has learned."""
    kind, vocab = training.task.vocab.kind, training.task.vocab
    length = LENGTH // 5 if kind == "word" else LENGTH
    start = _start(training, own_files)
    err.print("\nThe model writes:", style="bold")
    try:
        ids = training.task.lanes.tokens
        text, draws = typical(training.model, vocab, ids, draws=DRAWS, length=length, prompt=start,
                              temperature=TEMPERATURE, seconds=SECONDS)  # fmt: skip
    except DivergedError as error:
        err.print(Text(f"nothing: {flags(str(error))}"))
        return
    tokens = {"char": "characters", "word": "words"}.get(kind, "bytes")
    chosen = f"; of {draws} texts the one whose {tokens} are nearest to the text's in frequency" if draws > 1 else ""
    err.print(f"(at temperature {TEMPERATURE}{chosen})\n")  # plain: between the headings no escape of ours stands
    out.print(Text(printable(shown(start + text))), soft_wrap=True)


def _start(training: Training, own_files: bool) -> str:
    """The beginning of the sample: `def ` if Python's sources were learned, else nothing, which stands for a new line;
    or the first token of the text, if that has no lines."""
    vocab = training.task.vocab
    if not own_files and vocab.kind == "char":
        return "def "
    if vocab.newline is not None:
        return ""
    return vocab.decode(training.task.lanes.tokens[0:1])


def shown(text: str) -> str:
    """The text without a last line that is cut, if that leaves at least half of it, and without empty lines around
    it."""
    text = text.lstrip("\n").rstrip()
    end = text.rfind("\n")
    return text[:end].rstrip() if end >= len(text) / 2 else text


def _listed(commands: dict[str, str], width: int) -> Text:
    """Commands, and beside each what it does. If that is too wide, it is put above, and long commands are broken."""
    widest = max(map(cells, commands))
    if 2 + widest + 3 + max(map(cells, commands.values())) <= width:
        return Text(
            "\n".join(f"  {command}{' ' * (widest - cells(command))}   {what}" for command, what in commands.items())
        )
    text = Text()
    for command, what in commands.items():
        head, flag, rest = command.rpartition(" --")
        if 4 + cells(command) > width and head:
            command = f"{head} \\\n      {flag.strip()}{rest}"
        text.append("\n" if text else "").append(f"  {what}\n", "dim").append(f"    {command}")
    return text
