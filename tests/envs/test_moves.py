from __future__ import annotations

import torch

from rayl2o.envs.moves import Moves
from rayl2o.envs.settings import EnvSettings
from rayl2o.layout import Layout

LAYOUT = Layout(("w", "b", "v"), ((2, 3), (3,), ()), ("weight", "bias", "scalar"), (0, 0, 1))
GRAD = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
ALL = torch.arange(10).expand(2, 10)


def test_an_update_is_the_displacement_itself() -> None:
    moves = Moves.of(EnvSettings(update_scale=0.2), LAYOUT)
    assert moves.size == 10
    action = torch.rand(2, 10) * 2 - 1
    torch.testing.assert_close(moves.displace(action, GRAD, ALL), 0.2 * action)


def test_coordinates_that_an_update_does_not_cover_descend() -> None:
    coords = torch.tensor([[1, 7, 9], [0, 2, 3]])
    action = torch.tensor([[1.0, -1.0, 0.5], [0.0, 0.25, -0.5]])
    moves = Moves.of(EnvSettings(coords=3, update_scale=2.0, others_step=0.3), LAYOUT)
    assert moves.size == 3
    delta = moves.displace(action, GRAD, coords)
    expected = -0.3 * GRAD
    for k in range(2):
        expected[k, coords[k]] = 2.0 * action[k]
    torch.testing.assert_close(delta, expected)
    resting = Moves.of(EnvSettings(coords=3, others_step=0.0), LAYOUT).displace(action, GRAD, coords)
    assert (resting != 0).sum() == 5  # one of the six actions is 0


def test_log_step_goes_along_the_gradient() -> None:
    moves = Moves.of(EnvSettings(action="log_step", log10_steps=(-3.0, 1.0)), LAYOUT)
    assert moves.size == 1
    for action, step in ((-1.0, 1e-3), (0.0, 0.1), (1.0, 10.0)):
        delta = moves.displace(torch.full((2, 1), action), GRAD, ALL)
        torch.testing.assert_close(delta, -step * GRAD)


def test_log_step_tensor_has_a_step_for_each_tensor() -> None:
    moves = Moves.of(EnvSettings(action="log_step_tensor", log10_steps=(-1.0, 1.0)), LAYOUT)
    assert moves.size == 3
    delta = moves.displace(torch.tensor([[-1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), GRAD, ALL)
    steps = torch.tensor([0.1] * 6 + [1.0] * 3 + [10.0])
    torch.testing.assert_close(delta, -torch.stack([steps, torch.full((10,), 10.0)]) * GRAD)
