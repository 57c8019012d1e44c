"""Train a tiny policy to choose the step size of gradient descent, by REINFORCE in plain PyTorch.

    python examples/train_a_step_size_policy.py

The environment ``rayl2o/quadratic-v0`` is an optimization of a random quadratic, a new one in every episode; here the action is
log10 of the step size of gradient descent. The policy sees how the last step went and changes the step size. It is compared, on
fresh tasks, with the best fixed step of a grid, tuned on tasks of its own, and with the best fixed step of *each* task in
hindsight, which nobody knows beforehand. Half a minute on one core; nothing is downloaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import gymnasium
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn
from torch.optim import Adam

FEATURES = ("cosine", "gain", "log_grad", "log_loss", "progress")  # of the whole instance: one coordinate says it all
STEPS = 50
LOWEST, HIGHEST = -2.0, 2.0  # log10 of the step size
GRID = torch.linspace(-1.0, HIGHEST, 31)
EPISODES = 64  # side by side in one environment
NOISE = 0.1  # standard deviation of the actions while learning
DISCOUNT = 0.9
TUNING_SEED, TEST_SEED, TRAINING_SEED = 1_000_000, 2_000_000, 10_000_000


def environment(episodes: int) -> VectorEnv:
    """Gradient descent on quadratics, ``episodes`` side by side."""
    return gymnasium.make_vec(
        "rayl2o.envs:rayl2o/quadratic-v0",
        num_envs=episodes,
        action="log_step",
        log10_steps=(LOWEST, HIGHEST),
        features=FEATURES,
        coords=1,
        horizon=STEPS,
    )


class Policy(nn.Module):
    """From what is seen [K, 5] and the last action [K, 1] to the next action [K, 1] in -1..1: 129 weights."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(len(FEATURES) + 1, 16), nn.Linear(16, 1)
        with torch.no_grad():
            for layer, scale in ((self.hidden, 0.3), (self.out, 0.03)):
                layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=generator))
                layer.bias.zero_()

    def forward(self, seen: Tensor, last: Tensor) -> Tensor:
        """The action: the last one and a change of at most a half, a factor of 10 of the step size."""
        hidden = torch.tanh(self.hidden(torch.cat((seen.clamp(-5, 5), last), dim=1)))
        return (last + 0.5 * torch.tanh(self.out(hidden))).clamp(-1, 1)


def run(
    env: VectorEnv, choose: Callable[[Tensor, Tensor], Tensor], seed: int, noise: Callable[[], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """One episode of every instance: rewards and log probabilities of the actions, ``[STEPS, K]``, 0 after divergence."""
    seen, _ = env.reset(seed=seed)
    action, alive = torch.zeros(env.num_envs, 1), torch.ones(env.num_envs)
    rewards, log_probs = [], []
    for _ in range(STEPS):
        mean = choose(torch.from_numpy(seen[:, 0]), action)
        action = mean.detach() if noise is None else (mean.detach() + noise()).clamp(-1, 1)
        log_probs.append(-alive * ((action - mean) ** 2).sum(1) / (2 * NOISE**2))
        seen, reward, terminated, _, _ = env.step(action.numpy())
        rewards.append(alive * torch.from_numpy(reward).float())
        alive = alive * torch.from_numpy(~terminated)
    return torch.stack(rewards), torch.stack(log_probs)


def learn(seed: int, iterations: int) -> Policy:
    """REINFORCE with discounted returns, normalised over the instances at each step."""
    generator = torch.Generator().manual_seed(seed)
    policy, env = Policy(generator), environment(EPISODES)
    optimizer = Adam(policy.parameters(), lr=0.01)
    for i in range(iterations):
        tasks = TRAINING_SEED * (seed + 1) + i * EPISODES  # instance k has seed tasks + k
        rewards, log_probs = run(env, policy, tasks, lambda: NOISE * torch.randn(EPISODES, 1, generator=generator))
        returns, following = torch.zeros_like(rewards), torch.zeros(EPISODES)
        for t in reversed(range(STEPS)):
            following = rewards[t] + DISCOUNT * following
            returns[t] = following
        advantage = (returns - returns.mean(1, keepdim=True)) / (returns.std(1, keepdim=True) + 1e-3)
        optimizer.zero_grad()
        (-(log_probs * advantage).mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return policy


@torch.no_grad()
def score(choose: Callable[[Tensor, Tensor], Tensor], seed: int, episodes: int) -> Tensor:
    """``[episodes]``: ln of the first loss over the last one, of fresh tasks."""
    return run(environment(episodes), choose, seed)[0].sum(0)


def fixed(log10_step: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Always the same step size."""
    action = 2 * (log10_step - LOWEST) / (HIGHEST - LOWEST) - 1
    return lambda _, last: torch.full_like(last, float(action))


def line(name: str, gained: Tensor, best: Tensor) -> str:
    """A row of the table: mean decrease of ln loss with its standard error, and what is gained on the best fixed step."""
    ahead = gained - best
    error, paired = gained.std() / len(gained) ** 0.5, ahead.std() / len(ahead) ** 0.5
    better = f"{(ahead > 0).float().mean():8.0%}"
    return f"{name:32s} {gained.mean():6.2f} +- {error:.2f} {ahead.mean():+8.2f} +- {paired:.2f} {better}"


def main() -> None:
    """Tunes the fixed step, trains a policy from each seed, and prints a table over fresh tasks."""
    parser = argparse.ArgumentParser(description="Train a step size policy.")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--policies", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=128, help="fresh tasks to compare on")
    arguments = parser.parse_args()
    episodes = arguments.episodes
    torch.set_num_threads(1)
    tuned = GRID[int(torch.stack([score(fixed(step), TUNING_SEED, episodes).mean() for step in GRID]).argmax())]
    on_test = torch.stack([score(fixed(step), TEST_SEED, episodes) for step in GRID])
    best = score(fixed(tuned), TEST_SEED, episodes)
    print(f"{'':32s} {'ln loss decrease':>14s} {'ahead of it':>13s} {'better on':>11s}")
    print(line(f"fixed step {10**tuned:.2f}", best, best))
    print(line("best fixed step of each task", on_test.max(0).values, best))
    for seed in range(arguments.policies):
        policy = learn(seed, arguments.iterations)
        print(line(f"policy {seed}", score(policy, TEST_SEED, episodes), best), flush=True)


if __name__ == "__main__":
    main()
