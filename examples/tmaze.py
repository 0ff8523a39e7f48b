"""A policy that must remember: REINFORCE on a T-maze, step by step against an environment.

    +---+---+---+---+---+ N
    | ^ |   |   |   |   |      the sign at the start, up or down, says which way to turn at the end
    +---+---+---+---+---+ S

What is seen on the way does not tell which sign it was: only the state can. The next observation depends on the last
action, so the network reads one time step at a time, `unroll(cell, [seen], state)`, all on one tape; at the end of the
episodes the gradient goes back over all of their time steps.

Maze and rewards after Bakker, Reinforcement Learning with Long Short-Term Memory, 2001; the gradient is REINFORCE
(Williams 1992), as Wierstra, Foerster, Peters and Schmidhuber, Recurrent Policy Gradients, 2010, have it.

    python examples/tmaze.py --length 5 --updates 400
"""

from __future__ import annotations

import argparse

import numpy as np

import micrornn as mr

FORWARD, UP, DOWN = range(3)
RIGHT, WRONG, BUMP = 4.0, -0.1, -0.1  # rewards: a turn at the junction, and a step against a wall

CURIOSITY = 0.02  # what a nat of entropy is worth: a policy that is sure too early learns nothing more


class Mazes:
    """Many mazes at once. Seen: (up, down) at the start, (corridor, junction) elsewhere: (batch_size, 4) of 0 and 1."""

    def __init__(self, batch_size: int, length: int, rng: np.random.Generator):
        self.length, self.sign = length, rng.integers(UP, DOWN + 1, batch_size)
        self.place, self.done, self.won = np.zeros(batch_size, int), np.zeros(batch_size, bool), np.zeros(batch_size)

    def seen(self) -> np.ndarray:
        what = np.where(self.place == self.length, 3, 2)
        what = np.where(self.place == 0, self.sign - UP, what)
        return np.eye(4, dtype=np.float32)[what]

    def act(self, action: np.ndarray) -> np.ndarray:
        """The rewards of one action in each maze; 0 where the episode is over."""
        end = self.place == self.length
        right = end & (action == self.sign)
        reward = np.where(right, RIGHT, np.where(end & (action != FORWARD), WRONG, 0.0))
        bumps = (end & (action == FORWARD)) | (~end & (action != FORWARD))
        reward = np.where(self.done, 0.0, np.where(bumps, BUMP, reward))
        self.won[right & ~self.done] = 1
        self.place += ~end & (action == FORWARD) & ~self.done
        self.done |= end & (action != FORWARD)
        return reward


class Policy(mr.Module):
    """What is seen (batch_size, 4) and a state -> logits of the actions (batch_size, 3) and the next state."""

    def __init__(self, hidden_size: int, seed: int):
        self.cell = mr.LSTM(4, hidden_size, seed=seed)
        self.actions = mr.Linear(hidden_size, 3, seed=seed + 1)

    def __call__(self, seen: np.ndarray, state: tuple[mr.Tensor, ...]) -> tuple[mr.Tensor, tuple[mr.Tensor, ...]]:
        (y,), state = mr.unroll(self.cell, [seen], state)
        return self.actions(y), state


def episode(
    policy: Policy, mazes: Mazes, rng: np.random.Generator
) -> tuple[list[mr.Tensor], list[mr.Tensor], np.ndarray]:
    """(ln p of each action taken (batch_size,); of all actions (batch_size, 3); each a tensor a time step; the
    rewards (T, batch_size))."""
    state, chosen, spread, rewards = policy.cell.zero_state(len(mazes.sign)), [], [], []
    while not mazes.done.all() and len(rewards) < 3 * mazes.length + 6:
        logits, state = policy(mazes.seen(), state)
        logs = mr.log_softmax(logits)
        spread.append(logs)
        share = np.exp(logs.data).cumsum(axis=1)
        action = np.minimum((rng.random((len(share), 1)) > share).sum(axis=1), DOWN)
        chosen.append((logs * np.eye(3, dtype=np.float32)[action]).sum(axis=1))
        rewards.append(mazes.act(action))
    return chosen, spread, np.array(rewards)


def train(length: int, updates: int, batch_size: int, lr: float, seed: int) -> float:
    """How many of 500 new mazes the trained policy wins."""
    rng, policy = np.random.default_rng(seed), Policy(16, seed)
    optimizer = mr.optim.Adam(policy, lr=lr)
    for update in range(1, updates + 1):
        mazes = Mazes(batch_size, length, rng)
        with mr.Tape() as tape:
            chosen, spread, rewards = episode(policy, mazes, rng)
            to_come = rewards[::-1].cumsum(axis=0)[::-1]
            advantage = (to_come - to_come.mean(axis=1, keepdims=True)).astype(np.float32)
            loss = -sum((logs * weight).mean() for logs, weight in zip(chosen, advantage))
            loss = loss + CURIOSITY * sum((mr.exp(logs) * logs).sum() for logs in spread) / batch_size
        optimizer.zero_grad()
        tape.backward(loss)
        optimizer.update(clip_norm=1.0)
        if update % 50 == 0 or update == updates:
            print(f"update {update:4}  {len(rewards):2} time steps  won {100 * mazes.won.mean():3.0f} %", flush=True)
    mazes = Mazes(500, length, rng)
    with mr.no_tape():
        episode(policy, mazes, rng)
    return float(mazes.won.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="REINFORCE on a T-maze: the sign at the start, the turn at the end.")
    for name, default in (("length", 5), ("updates", 400), ("batch-size", 64), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"[{default}]")
    parser.add_argument("--lr", type=float, default=0.02, help="[0.02]")
    given = parser.parse_args()
    share = train(given.length, given.updates, given.batch_size, given.lr, given.seed)
    print(f"500 new mazes of length {given.length}: {100 * share:.0f} % won; without memory it would be 50 %")
