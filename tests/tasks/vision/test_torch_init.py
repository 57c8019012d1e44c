from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rayl2o.layout import Layout
from rayl2o.tasks.vision.torch_init import torch_rows

LAYOUT = Layout(
    ("conv.weight", "bn.weight", "bn.bias", "deep.weight", "linear.weight", "linear.bias"),
    ((64, 8, 3, 3), (64,), (64,), (512, 1, 3, 3), (1000, 50), (1000,)),
    ("weight", "norm", "norm", "weight", "weight", "bias"),
    (0, 0, 0, 1, 2, 2),
)


def modules() -> dict[str, Tensor]:
    """The same layers as torch initialises them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.ModuleDict(
            {
                "conv": nn.Conv2d(8, 64, 3, bias=False),
                "bn": nn.BatchNorm2d(64),
                "deep": nn.Conv2d(512, 512, 3, groups=512, bias=False),
                "linear": nn.Linear(50, 1000),
            }
        )
    return {name: parameter.detach() for name, parameter in net.named_parameters()}


def test_distributions_are_those_of_torch() -> None:
    ours, theirs = LAYOUT.unflatten(torch_rows(LAYOUT, [0])[0]), modules()
    assert tuple(ours) == tuple(theirs)
    for name, values in ours.items():
        assert values.shape == theirs[name].shape
        torch.testing.assert_close(values.abs().max(), theirs[name].abs().max(), rtol=0.01, atol=0)
        torch.testing.assert_close(values.std(), theirs[name].std(), rtol=0.05, atol=1e-9)
    assert set(ours["bn.weight"].tolist()) == {1.0}
    assert set(ours["bn.bias"].tolist()) == {0.0}
    assert ours["deep.weight"].abs().max() <= 1 / 3
    assert abs(float(ours["linear.bias"].mean())) < 0.1 / math.sqrt(50)


def test_rows_depend_on_their_seed_alone_and_not_on_the_dtype() -> None:
    rows = torch_rows(LAYOUT, [5, 6, 5], dtype=torch.float64)
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    assert torch.equal(rows[1:2], torch_rows(LAYOUT, [6], dtype=torch.float64))
    assert torch.equal(rows.float(), torch_rows(LAYOUT, [5, 6, 5]))
