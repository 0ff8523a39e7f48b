"""Write the golden files: what PyTorch computes, in float64, for the tests to hold micrornn against.

PyTorch is not a dependency of this project. Run this by hand, with a Python that has it:

    pip install torch==2.13.0
    python tests/golden/make.py

Every input is drawn by NumPy from a seed made of the file's name, so a file does not depend on the others
and a second run writes the same arrays. README.md beside this file lists the keys and the conventions.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm, rnn

TORCH = "2.13.0"
HERE = Path(__file__).parent

CELLS = {
    "rnn_tanh": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="tanh", **options),
    "rnn_relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}

LAYER_CASES = {
    "single": {"T": 7, "B": 3, "D": 5, "H": 4, "num_layers": 1, "bidirectional": False},
    "stacked": {"T": 6, "B": 4, "D": 3, "H": 5, "num_layers": 2, "bidirectional": True},
    # Unsorted, two full ones, one of a single time step, one that ends in the middle.
    "lengths": {
        "T": 6,
        "B": 4,
        "D": 3,
        "H": 5,
        "num_layers": 2,
        "bidirectional": True,
        "lengths": [6, 1, 4, 6],
    },
}


def seeded(name):
    return np.random.default_rng(list(name.encode()))


def leaf(array):
    """The same numbers as a tensor that collects a gradient."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def fill(module, draw):
    """Overwrite every parameter with what `draw(name, shape)` gives: nothing comes from torch's own seed."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(draw(name, tuple(parameter.shape))))


def arrays(module):
    return {name: parameter.detach().numpy().copy() for name, parameter in module.named_parameters()}


def save(name, **items):
    path = HERE / f"{name}.npz"
    np.savez_compressed(path, **{k: v.detach().numpy() if torch.is_tensor(v) else v for k, v in items.items()})
    print(f"{path.stat().st_size:8,d} bytes  {len(items):3d} arrays  {path.name}")


# --- layers_<cell>_<case>.npz ---


def layers(cell, case, *, T, B, D, H, num_layers, bidirectional, lengths=None):
    name = f"layers_{cell}_{case}"
    rng = seeded(name)
    dirs = 2 if bidirectional else 1
    module = CELLS[cell](D, H, num_layers=num_layers, bidirectional=bidirectional).double()
    fill(module, lambda _, shape: rng.normal(0.0, 0.5, shape))

    x = leaf(rng.normal(size=(T, B, D)))
    states = ["h", "c"] if cell == "lstm" else ["h"]
    start = {f"{s}_0": leaf(rng.normal(size=(num_layers * dirs, B, H))) for s in states}
    cotangents = {"dy": rng.normal(size=(T, B, dirs * H))}
    cotangents |= {f"d{s}_n": rng.normal(size=(num_layers * dirs, B, H)) for s in states}

    inputs = x
    if lengths is not None:
        inputs = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, end = module(inputs, tuple(start.values()) if cell == "lstm" else start["h_0"])
    if lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, total_length=T)
    outputs = {"y": y} | {f"{s}_n": e for s, e in zip(states, end if cell == "lstm" else [end])}

    sum((outputs[key[1:]] * torch.from_numpy(value)).sum() for key, value in cotangents.items()).backward()

    leaves = {"x": x} | start | dict(module.named_parameters())
    grads = {f"grad_{key}": tensor.grad for key, tensor in leaves.items()}
    extra = {} if lengths is None else {"lengths": np.array(lengths, dtype=np.int64)}
    save(name, **leaves, **extra, **outputs, **cotangents, **grads)


# --- ops.npz ---


def ops():
    rng = seeded("ops")
    items = {}

    def record(op, function, cotangent=False, given=(), **inputs):
        """Store `op.<key>` for the inputs, what is `given` beside them, the output and the gradients."""
        leaves = {key: leaf(value) for key, value in inputs.items()}
        given = dict(given)
        out = function(**leaves, **{key: torch.from_numpy(value) for key, value in given.items()})
        found = {**leaves, **given, "out": out}
        if cotangent:
            found["dout"] = rng.normal(size=tuple(out.shape))
            out.backward(torch.from_numpy(found["dout"]))
        else:
            out.backward()
        found |= {f"grad_{key}": tensor.grad for key, tensor in leaves.items()}
        items.update({f"{op}.{key}": value for key, value in found.items()})

    T, B, V = 5, 3, 7
    logits = rng.normal(0.0, 2.0, (T, B, V))
    logits[1, 1] *= 400.0  # exp() of these overflows: whoever forgets to subtract the maximum is found out

    def cross_entropy(logits, targets, mask):
        each = F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1), reduction="none")
        return each[mask.reshape(-1)].mean()

    mask = rng.random((T, B)) < 0.7
    mask[1, 1], mask[-1, 0] = True, False
    targets = rng.integers(0, V, (T, B))
    targets[1, 1] = np.argsort(logits[1, 1])[0]  # the least likely one: a large loss, still finite
    record("cross_entropy", cross_entropy, given={"targets": targets, "mask": mask}, logits=logits)
    record("log_softmax", lambda x: F.log_softmax(x, dim=-1), cotangent=True, x=logits)
    record("softmax", lambda x: F.softmax(x, dim=-1), cotangent=True, x=logits)

    logits = rng.normal(0.0, 2.0, (4, 6))
    logits[0, :4] = [40.0, -40.0, 800.0, -800.0]
    targets = (rng.random((4, 6)) < 0.5).astype(np.float64)
    targets[0, :4] = [0.0, 1.0, 1.0, 1.0]
    record(
        "binary_cross_entropy_with_logits",
        lambda logits, targets: F.binary_cross_entropy_with_logits(logits, targets),
        given={"targets": targets},
        logits=logits,
    )
    record("mse", F.mse_loss, input=rng.normal(size=(4, 3, 2)), target=rng.normal(size=(4, 3, 2)))
    record(
        "cosine_similarity",
        lambda a, b: F.cosine_similarity(a, b, dim=-1, eps=1e-8),
        cotangent=True,
        a=rng.normal(size=(4, 3, 5)),
        b=rng.normal(size=(4, 3, 5)),
    )
    save("ops", **items)


# --- training_<cell>.npz ---

VOCAB_SIZE, EMBEDDING_SIZE, HIDDEN_SIZE, NUM_LAYERS = 11, 8, 12, 2
BATCH_SIZE, NUM_STEPS, NUM_UPDATES = 4, 9, 50
# 41 windows a lane and 5 ids left over: 50 updates come round once, and the short window must be dropped.
NUM_TOKENS = 1500


def clip_norm(parameters):
    clip_grad_norm_(parameters, 0.25, foreach=False)


def clip_value(limit):
    return lambda parameters: clip_grad_value_(parameters, limit, foreach=False)


def rmsprop(parameters):
    return torch.optim.RMSprop(parameters, lr=2e-3, alpha=0.95, eps=1e-8, foreach=False)


# optimizer, clipping, and what the mean loss is multiplied by before it is differentiated. No element comes
# near 5 in these 50 updates, so a clip that does nothing would pass: "rmsprop_clip" is the one that bites.
RECIPES = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9, foreach=False), clip_norm, 1),
    "adam": (lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, foreach=False), None, 1),
    "rmsprop": (rmsprop, clip_value(5.0), NUM_STEPS),
    "rmsprop_clip": (rmsprop, clip_value(0.2), NUM_STEPS),
}


def stream():
    """Ids from a Markov chain with a few likely successors each: there is something to learn."""
    rng = seeded("training")
    chain = rng.dirichlet(np.full(VOCAB_SIZE, 0.2), size=VOCAB_SIZE) * 0.95 + 0.05 / VOCAB_SIZE
    ids = [0]
    while len(ids) < NUM_TOKENS:
        ids.append(rng.choice(VOCAB_SIZE, p=chain[ids[-1]]))
    return np.array(ids, dtype=np.int64)


def windows(tokens):
    """Time-major (inputs, targets) pairs of full windows; lane b reads on from tokens[b * lane_len]."""
    lane_len = (len(tokens) - 1) // BATCH_SIZE
    starts = np.arange(BATCH_SIZE) * lane_len
    for first in range(0, lane_len - NUM_STEPS + 1, NUM_STEPS):
        at = first + np.arange(NUM_STEPS)[:, None] + starts
        yield torch.from_numpy(tokens[at]), torch.from_numpy(tokens[at + 1])


def train(model, batches, make_optimizer, clip, loss_scale):
    parameters = list(model.parameters())
    optimizer = make_optimizer(parameters)
    losses, norms, state = [], [], None
    for update in range(NUM_UPDATES):
        inputs, targets = batches[update % len(batches)]
        if update % len(batches) == 0:
            state = None  # zeros
        y, state = model["rnn"](model["embedding"](inputs), state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = F.cross_entropy(model["decoder"](y).reshape(-1, VOCAB_SIZE), targets.reshape(-1))

        optimizer.zero_grad()
        (loss * loss_scale).backward()
        losses.append(loss.item())
        norms.append(get_total_norm([p.grad for p in parameters], foreach=False).item())
        if clip:
            clip(parameters)
        optimizer.step()
    return np.array(losses), np.array(norms)


def training(cell):
    name = f"training_{cell}"
    tokens = stream()
    batches = list(windows(tokens))
    items = {"tokens": tokens, "batch_size": np.int64(BATCH_SIZE), "num_steps": np.int64(NUM_STEPS)}

    def draw(parameter, shape):
        if parameter == "embedding.weight":
            return rng.normal(size=shape)
        return rng.uniform(-1.0, 1.0, shape) / np.sqrt(HIDDEN_SIZE)

    for recipe, settings in RECIPES.items():
        rng = seeded(name)  # every recipe starts from the same parameters
        model = nn.ModuleDict(
            {
                "embedding": nn.Embedding(VOCAB_SIZE, EMBEDDING_SIZE),
                "rnn": CELLS[cell](EMBEDDING_SIZE, HIDDEN_SIZE, num_layers=NUM_LAYERS),
                "decoder": nn.Linear(HIDDEN_SIZE, VOCAB_SIZE),
            }
        ).double()
        fill(model, draw)
        items |= arrays(model)
        losses, norms = train(model, batches, *settings)
        items |= {f"{recipe}.losses": losses, f"{recipe}.grad_norms": norms}
        if recipe == "adam":
            items |= {f"adam.final.{key}": value for key, value in arrays(model).items()}
    save(name, **items)


# --- optimizers.npz ---

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, {"eps": 1e-10}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-8}),
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
}


def optimizers():
    rng = seeded("optimizers")
    start = rng.normal(size=17)
    # From 1e-9, where it shows on which side of the root eps stands, to 100; the last one never moves.
    grads = rng.normal(size=(20, 17)) * np.append(np.logspace(-9, 2, 16), 0.0)
    items = {"start": start, "grads": grads, "lr": np.float64(0.05)}
    for name, (optimizer, options) in OPTIMIZERS.items():
        parameter = leaf(start)
        stepper = optimizer([parameter], lr=0.05, foreach=False, **options)
        trajectory = []
        for grad in grads:
            parameter.grad = torch.from_numpy(grad.copy())
            stepper.step()
            trajectory.append(parameter.detach().numpy().copy())
        items[f"{name}.trajectory"] = np.array(trajectory)
        items |= {f"{name}.{key}": np.array(value, dtype=np.float64) for key, value in options.items()}
    save("optimizers", **items)


def main():
    if torch.__version__.split("+")[0] != TORCH:
        raise SystemExit(f"torch {TORCH} expected, {torch.__version__} found: pip install torch=={TORCH}")
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    for cell in CELLS:
        for case, sizes in LAYER_CASES.items():
            layers(cell, case, **sizes)
    ops()
    for cell in ["lstm", "gru", "rnn_tanh"]:
        training(cell)
    optimizers()


if __name__ == "__main__":
    main()
