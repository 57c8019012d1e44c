from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rayl2o.tasks import minibatch
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.networks.mlp_batch import MLPBatch

SHARED = {
    "one for all": [5] * 6,
    "tiled": [1, 2, 3] * 4,
    "repeated": [1] * 4 + [2] * 4,
    "uneven": [1, 1, 2, 1, 2, 1, 1],
    "hardly": [1, 1, 2],
}


def build(k: int, family: MLP, dtype: torch.dtype = torch.float64) -> MLPBatch:
    return family.build([family.sample(torch.Generator())] * k, dtype=dtype)


def normal(task: MLPBatch, seed: int, scale: float = 1.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(task.k, task.layout.size, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("seeds", SHARED.values(), ids=SHARED.keys())
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5, 4)])
def test_sharing_a_minibatch_changes_nothing(seeds: Sequence[int], hidden: tuple[int, ...]) -> None:
    task = build(len(seeds), MLP(hidden=hidden, activation="tanh", batch_size=16))
    params, vector = normal(task, 0, 0.3), normal(task, 1)
    batch = task.draw_batch(seeds)
    losses, grads = task.loss_and_grad(params, batch)
    products = task.hvp(params, batch, vector)
    alone = build(1, MLP(hidden=hidden, activation="tanh", batch_size=16))
    for k, seed in enumerate(seeds):
        one, row = alone.draw_batch([seed]), slice(k, k + 1)
        loss, grad = alone.loss_and_grad(params[row], one)
        torch.testing.assert_close(losses[row], loss, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(grads[row], grad, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(products[row], alone.hvp(params[row], one, vector[row]), rtol=1e-12, atol=1e-14)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task = build(7, MLP(batch_size=16))
    params, vector, seeds = normal(task, 0), normal(task, 1), range(7)
    whole = task.draw_batch(seeds)
    monkeypatch.setattr(minibatch, "CHUNK_BYTES", 3 * 16 * 64 * 8)
    chunks = task.draw_batch(seeds)
    assert (len(whole.parts), len(chunks.parts)) == (1, 3)
    for one, many in zip(task.loss_and_grad(params, whole), task.loss_and_grad(params, chunks), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(
        task.hvp(params, whole, vector), task.hvp(params, chunks, vector), rtol=1e-13, atol=1e-15
    )


def test_kink_of_relu_is_that_of_autograd() -> None:
    """At params 0 every pre-activation of the first layer is exactly 0."""
    task = build(2, MLP(hidden=(4, 3), activation="relu", batch_size=16))
    params, vector = normal(task, 0), normal(task, 1)
    params[0] = 0
    params[1, : 64 * 4 + 4] = 0
    batch = task.draw_batch([0, 1])
    leaf = params.clone().requires_grad_()
    (grad,) = torch.autograd.grad(task.loss(leaf, batch).sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad(grad, leaf, vector)
    torch.testing.assert_close(task.loss_and_grad(params, batch)[1], grad.detach(), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(task.hvp(params, batch, vector), product, rtol=1e-12, atol=1e-15)


def test_strided_params_and_vectors_are_read_right() -> None:
    task = build(3, MLP(hidden=(4,), batch_size=16))
    params, vector, batch = normal(task, 0), normal(task, 1), task.draw_batch([0, 1, 2])
    strided = [x.T.contiguous().T for x in (params, vector)]
    offset = torch.cat([normal(task, 2), params])[3:]
    assert not strided[0].is_contiguous()
    _, grad = task.loss_and_grad(params, batch)
    assert torch.equal(task.loss_and_grad(strided[0], batch)[1], grad)
    assert torch.equal(task.loss_and_grad(offset, batch)[1], grad)
    assert torch.equal(task.hvp(strided[0], batch, strided[1]), task.hvp(params, batch, vector))


def test_loss_is_that_of_a_torch_module() -> None:
    """An independent forward pass from the layout's names."""
    task = build(1, MLP(hidden=(5,), batch_size=16))
    params, batch = normal(task, 0), task.draw_batch([3])
    tensors = {name: tensor[0] for name, tensor in task.layout.unflatten(params).items()}
    net = torch.nn.Sequential(torch.nn.Linear(64, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 10)).double()
    state = {
        f"{2 * i}.{kind}": tensors[f"layer_{i}.{kind}"].T.contiguous()
        if kind == "weight"
        else tensors[f"layer_{i}.{kind}"]
        for i in range(2)
        for kind in ("weight", "bias")
    }
    net.load_state_dict(state)
    rows = batch.rows()[0]
    expected = torch.nn.CrossEntropyLoss()(net(task.data.inputs[rows]), task.data.labels[rows])
    torch.testing.assert_close(task.loss_and_grad(params, batch)[0], expected.detach().reshape(1), rtol=1e-12, atol=0)


def test_a_batch_waits_without_its_inputs() -> None:
    """U minibatches are kept for a reverse sweep, so one must stay far below its inputs' size."""
    batch = build(4, MLP()).draw_batch(range(4))
    held = sum(part.rows.numel() * part.rows.element_size() for part in batch.parts)
    assert held == 4 * 128 * 8


def test_huge_logits_stay_finite() -> None:
    task = build(1, MLP(batch_size=16), torch.float32)
    params = 1e4 * normal(task, 0).float()
    loss, grad = task.loss_and_grad(params, task.draw_batch([0]))
    assert torch.isfinite(loss).all()
    assert torch.isfinite(grad).all()


@pytest.mark.skipif("RAYL2O_DATA" not in os.environ, reason="RAYL2O_DATA is not set: no real MNIST here")
@pytest.mark.parametrize("hidden", [(20,), (20, 20)])
def test_mnist_at_true_size_learns(hidden: tuple[int, ...]) -> None:
    task = build(3, MLP(data="mnist", hidden=hidden, activation="relu", init_std=0.2), torch.float32)
    assert task.layout.size == {1: 15_910, 2: 16_330}[len(hidden)]
    params = task.init_params([0, 1, 2])
    for step in range(60):
        loss, grad = task.loss_and_grad(
            params, task.draw_batch([step] * 3 if step % 2 else [3 * step, 3 * step + 1, 7])
        )
        params = params - 0.3 * grad
    assert loss.max() < 1.0
    double, batch = build(3, MLP(data="mnist", hidden=hidden, activation="relu")), task.draw_batch([1, 2, 3])
    leaf = params.double().requires_grad_()
    (expected,) = torch.autograd.grad(double.loss(leaf, batch).sum(), leaf)
    torch.testing.assert_close(task.loss_and_grad(params, batch)[1].double(), expected, rtol=1e-3, atol=1e-6)
