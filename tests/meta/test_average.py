"""The average of phi against its sum written out."""

from __future__ import annotations

import pytest
import torch

from rayl2o.meta.average import Average, averaged


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_weights_fall_by_the_decay_and_add_up_to_one(decay: float) -> None:
    phis = [torch.eye(6, dtype=torch.float64)[i] for i in range(6)]  # so that the mean shows the weights
    average = Average()
    for count, phi in enumerate(phis, start=1):
        average = averaged(decay, average, {"w": phi})
        weights = torch.tensor([decay ** (count - 1 - i) for i in range(count)], dtype=torch.float64)
        torch.testing.assert_close(average.phi["w"][:count], weights / weights.sum(), rtol=1e-12, atol=0.0)
        assert average.updates == count


def test_the_first_phi_is_its_own_average_to_the_bit() -> None:
    phi = {"w": torch.randn(5, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(averaged(0.99, Average(), phi).phi["w"], phi["w"])


def test_none_is_kept_without_a_decay() -> None:
    average = Average()
    assert averaged(0.0, average, {"w": torch.ones(1)}) is average
