from __future__ import annotations

import pytest
import torch

from rayl2o.tasks.networks import full_batch
from rayl2o.tasks.networks.full_batch import FullBatch, all_examples
from rayl2o.tasks.networks.mlp import MLP


def test_all_examples_are_shared_in_parts_that_fit_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_batch, "_CHUNK_BYTES", 2 * 10 * 8)
    batch = all_examples(5, examples=10, example_bytes=8)
    assert [part.members for part in batch.parts] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert torch.equal(batch.rows(), torch.arange(10).expand(5, -1))
    assert len(all_examples(5, examples=1000, example_bytes=8).parts) == 5
    assert len(all_examples(5, examples=1, example_bytes=8).parts) == 1


def test_it_is_the_mean_over_all_examples_and_draws_nothing() -> None:
    family = MLP(hidden=(4,), batch_size=297, split="test")
    base = family.build([family.sample(torch.Generator())] * 3, dtype=torch.float64)
    tasks = FullBatch(base, all_examples(3, 297, 80))
    assert (tasks.k, tasks.layout) == (3, base.layout)
    assert tasks.draw_batch([1, 2, 3]) is None
    x, v = 30 * tasks.init_params([1, 2, 3]), base.init_params([4, 5, 6])
    loss, grad = tasks.loss_and_grad(x, None)
    inputs, labels = base.data.inputs, base.data.labels
    for k in range(3):
        first, bias, second, shift = (tensor[k] for tensor in tasks.layout.unflatten(x).values())
        logits = torch.sigmoid(inputs @ first + bias) @ second + shift
        torch.testing.assert_close(loss[k], torch.nn.functional.cross_entropy(logits, labels))
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(tasks.loss(leaf, None).sum(), leaf, create_graph=True)
    torch.testing.assert_close(grad, expected.detach())
    torch.testing.assert_close(tasks.hvp(x, None, v), torch.autograd.grad(expected, leaf, v)[0])
