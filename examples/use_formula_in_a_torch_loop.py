"""Use a formula as the optimizer of an ordinary PyTorch loop.

    python examples/use_formula_in_a_torch_loop.py

Trains a small network on scikit-learn's handwritten digits (nothing is downloaded, a few seconds on one core) with a formula
given as text, with the same formula read from a rule file, and with torch's Adam. It shows the interface; for a fair contest
with tuned baselines and several seeds use ``rayl2o evaluate``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from rayl2o.optim import SymbolicOptimizer
from rayl2o.rules.files import save_rule
from rayl2o.rules.symbolic import SymbolicRule

# g_tilde is the gradient over its running root mean square; the minus sign of the step is part of the formula.
FORMULA = "-0.01*ema(g_tilde, 0.5) + -0.01*ema(g_tilde, 0.95)"
STEPS = 400
BATCH = 64


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images [1400, 64] in [0, 1] with their labels, and 397 for testing."""
    data = load_digits()
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    return x[train], y[train], x[test], y[test]


def train(make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]) -> tuple[float, float]:
    """The mean loss over the last 50 steps (nats per image) and the accuracy on the test images."""
    x, y, test_x, test_y = digits()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = make_optimizer(model.parameters())
    scheduler = CosineAnnealingLR(optimizer, STEPS)  # any torch scheduler works: it scales the formula's step
    batches = torch.Generator().manual_seed(2)
    losses = []
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,), generator=batches)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
    return sum(losses[-50:]) / 50, accuracy


def main() -> None:
    """Trains once with each optimizer and prints a line for it."""
    torch.set_num_threads(1)
    print(SymbolicOptimizer([nn.Parameter(torch.zeros(1))], FORMULA))

    with tempfile.TemporaryDirectory() as folder:
        path = save_rule(Path(folder) / "two_averages", SymbolicRule.from_formula(FORMULA), phi={}, card={})
        rows = {
            "formula (text)": train(lambda params: SymbolicOptimizer(params, FORMULA)),
            "formula (rule file)": train(lambda params: SymbolicOptimizer.from_pretrained(path, params)),
            "Adam, lr 0.01": train(lambda params: Adam(params, lr=0.01)),
            "Adam, lr 0.03": train(lambda params: Adam(params, lr=0.03)),
        }
    print(f"{'optimizer':22s} {'train loss':>10s} {'test accuracy':>14s}")
    for name, (loss, accuracy) in rows.items():
        print(f"{name:22s} {loss:10.4f} {accuracy:14.3f}")


if __name__ == "__main__":
    main()
