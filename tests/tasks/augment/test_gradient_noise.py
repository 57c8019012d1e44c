from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.augment.gradient_noise import GradientNoise, Noisy, NoisyBatch
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, pair


def test_the_noise_is_a_linear_term() -> None:
    found = pair(NETWORK, GradientNoise(0.1, 0.1))
    x, v = found.point("x"), found.point("v")
    batch = found.augmented.draw_batch([1, 2, 3])
    loss, grad = found.augmented.loss_and_grad(x, batch)
    expected, inner = found.plain.loss_and_grad(x, batch.inner)
    noise = grad - inner
    torch.testing.assert_close(loss - expected, (noise * x).sum(1), rtol=1e-9, atol=1e-9)
    assert torch.equal(found.augmented.hvp(x, batch, v), found.plain.hvp(x, batch.inner, v))
    elsewhere = found.augmented.loss_and_grad(x + v, batch)[1] - found.plain.loss_and_grad(x + v, batch.inner)[1]
    torch.testing.assert_close(elsewhere, noise, rtol=1e-9, atol=1e-12)


def test_its_size_and_its_mean() -> None:
    found = pair(NETWORK, GradientNoise(0.2, 0.2))
    assert isinstance(found.augmented, NoisyBatch)
    noise = torch.stack([found.augmented.noise(found.augmented.draw_batch([t] * 3)) for t in range(50)])
    assert abs(noise.std() - 0.2) < 0.002
    assert abs(noise.mean()) < 0.002
    assert noise.mean(0).abs().max() < 5 * 0.2 / 50**0.5


def test_the_std_of_a_task_is_drawn_once() -> None:
    found = pair(NETWORK, GradientNoise(0.01, 1.0), k=20)
    assert isinstance(found.augmented, NoisyBatch)
    stds = torch.stack([found.augmented.noise(found.augmented.draw_batch([t] * 20)).std(1) for t in range(2)])
    torch.testing.assert_close(stds[0], stds[1], rtol=0.2, atol=0)
    assert stds.min() > 0.008
    assert stds.max() < 1.2
    assert stds[0].max() / stds[0].min() > 10


def test_equal_minibatch_seeds_give_equal_noise_to_equal_tasks_only() -> None:
    found = pair(QUADRATIC, GradientNoise())
    twice = found.family.build([found.specs[0], found.specs[1], found.specs[0]], dtype=torch.float64)
    assert isinstance(twice, NoisyBatch)
    noise = twice.noise(Noisy(None, (5, 5, 5)))
    assert torch.equal(noise[0], noise[2])
    correlation = torch.corrcoef(noise[:2])[0, 1]
    assert abs(correlation) < 0.99
    assert not torch.equal(noise, twice.noise(Noisy(None, (6, 6, 6))))


def test_two_noises_are_independent() -> None:
    found = pair(NETWORK, GradientNoise(1.0, 1.0), GradientNoise(1.0, 1.0))
    batch = found.augmented.draw_batch([1, 2, 3])
    x = found.point("x")
    total = found.augmented.loss_and_grad(x, batch)[1] - found.plain.loss_and_grad(x, batch.inner.inner)[1]
    assert abs(total.std() - 2**0.5) < 0.1  # 2 if it were the same noise twice


def test_float32_hears_the_same_noise() -> None:
    one, two = (pair(QUADRATIC, GradientNoise(), dtype=dtype).augmented for dtype in (torch.float32, torch.float64))
    assert isinstance(one, NoisyBatch)
    assert isinstance(two, NoisyBatch)
    batch = Noisy(None, (1, 2, 3))
    torch.testing.assert_close(one.noise(batch).double(), two.noise(batch), rtol=1e-6, atol=0)


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="range of the gradient noise is bad"):
        GradientNoise(1.0, 0.5)
