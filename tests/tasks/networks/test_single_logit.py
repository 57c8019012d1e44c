from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rayl2o.tasks.data import DataSet
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.mlp_batch import MLPBatch
from rayl2o.tasks.networks.single_logit import SingleLogitBatch


def test_it_is_logistic_regression_on_top() -> None:
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, generator=rng, dtype=torch.float64)
    labels = torch.randint(2, (40,), generator=rng)
    base = MLPBatch(dense_layout((3, 5, 2)), 4, DataSet(inputs, labels, 2), ACTIVATIONS["tanh"], 8, 0.0)
    layout = dense_layout((3, 5, 1))
    start = torch.randn(4, layout.size, generator=rng, dtype=torch.float64)
    tasks = SingleLogitBatch(layout, base, lambda seeds: start[list(seeds)])
    x, v, batch = tasks.init_params(range(4)), start.flip(0), tasks.draw_batch(range(4))
    assert tasks.k == 4
    assert torch.equal(x, start)

    def losses(params: Tensor) -> Tensor:
        first, bias, second, shift = layout.unflatten(params).values()
        hidden = torch.tanh(inputs[batch.rows()] @ first + bias.unsqueeze(1))
        logits = (hidden @ second + shift.unsqueeze(1)).squeeze(2)
        targets = labels[batch.rows()].double()
        return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)

    leaf = x.clone().requires_grad_()
    expected = losses(leaf)
    (grad,) = torch.autograd.grad(expected.sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad(grad, leaf, v)
    loss, slope = tasks.loss_and_grad(x, batch)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(tasks.loss(x, batch), expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, grad.detach(), rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(tasks.hvp(x, batch, v), product, rtol=1e-11, atol=1e-14)
