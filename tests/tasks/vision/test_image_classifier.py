from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.benchmark import residual_modules
from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.data import load
from rayl2o.tasks.vision import image_classifier
from rayl2o.tasks.vision.image_augmentation import AUGMENTATION, NORMALISATION
from rayl2o.tasks.vision.mobilenet import MobileNetV2
from rayl2o.tasks.vision.resnet import ResNet
from tests.tasks.vision.network_oracle import make

SMALL: dict[str, Any] = {"data": "digits", "blocks": (1, 1), "width": 2, "batch_size": 8}


def build(family: ResNet, k: int = 3, dtype: torch.dtype = torch.float64) -> ChunkedBatch:
    return family.build([family.sample(torch.Generator())] * k, dtype=dtype)


def normal(tasks: ChunkedBatch, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(tasks.k, tasks.layout.size, generator=rng, dtype=torch.float64)


def test_sampling_draws_nothing() -> None:
    rng = torch.Generator().manual_seed(1)
    before = rng.get_state()
    spec = ResNet(**SMALL).sample(rng)
    assert torch.equal(rng.get_state(), before)
    settings = {"batch_size": 8, "blocks": [1, 1], "width": 2, "augment": True, "variant": "paper", "bottleneck": False}
    assert spec == TaskSpec("resnet", {"data": "digits", "split": "train", **settings})


@pytest.mark.parametrize("augment", [False, True])
def test_loss_is_that_of_a_torch_module_on_the_images_that_were_drawn(augment: bool) -> None:
    tasks = build(ResNet(**SMALL, augment=augment, split="test"), k=1)
    params, batch = normal(tasks, 0), tasks.draw_batch([4])
    data, rows = load("digits", "test", dtype=torch.float64), batch[0, :, 0]
    images = data.inputs[rows].reshape(8, 1, 8, 8)
    if augment:
        images = AUGMENTATION["digits"].apply(images, AUGMENTATION["digits"].draw([4], 8)[0])
    module = make(lambda: residual_modules.ResNet(residual_modules.Basic, (1, 1), 2, 1))
    tensors = {name: tensor[0] for name, tensor in tasks.layout.unflatten(params).items()}
    module.load_state_dict(tensors, strict=False)
    logits = module(NORMALISATION["digits"].apply(images))
    expected = torch.nn.CrossEntropyLoss()(logits, data.labels[rows]).detach().reshape(1)
    torch.testing.assert_close(tasks.loss_and_grad(params, batch)[0], expected, rtol=1e-12, atol=0)


def test_minibatches_hold_no_pixels_and_augmentation_leaves_their_rows_alone() -> None:
    """U of them wait for a reverse sweep."""
    plain, augmented = (build(ResNet(**SMALL, augment=augment)).draw_batch([1, 2, 1]) for augment in (False, True))
    assert plain.shape == (3, 8, 1)
    assert augmented.shape == (3, 8, 4)
    assert torch.equal(plain, augmented[..., :1])
    assert torch.equal(augmented[0], augmented[2])
    assert not torch.equal(augmented[0], augmented[1])


def test_how_many_go_through_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    family = ResNet(**SMALL)
    together = build(family, k=5)
    monkeypatch.setattr(image_classifier, "CHUNK_BYTES", 2 * 8 * 8 * 8 * 8 * 2)
    apart = build(family, k=5)
    monkeypatch.setattr(image_classifier, "CHUNK_BYTES", 1)
    alone = build(family, k=5)
    assert together.chunk >= 5
    assert (apart.chunk, alone.chunk) == (2, 1)
    params, vector, seeds = normal(together, 0), normal(together, 1), [0, 1, 2, 1, 0]
    loss, grad = together.loss_and_grad(params, together.draw_batch(seeds))
    product = together.hvp(params, together.draw_batch(seeds), vector)
    for tasks in (apart, alone):
        batch = tasks.draw_batch(seeds)
        torch.testing.assert_close(tasks.loss_and_grad(params, batch)[0], loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(tasks.loss_and_grad(params, batch)[1], grad, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(tasks.hvp(params, batch, vector), product, rtol=1e-9, atol=1e-11)


def test_the_true_networks_run_one_at_a_time() -> None:
    """So that K of them need the memory of one."""
    for family in (ResNet(), ResNet(blocks=(3, 8, 36, 3), bottleneck=True), MobileNetV2()):
        assert family.batch_size * family.network.peak(32, 32) * 4 > image_classifier.CHUNK_BYTES


def test_paper_starts_as_torch_does_and_code_with_noise_for_everything() -> None:
    paper, code = (build(ResNet(**SMALL, variant=variant)) for variant in ("paper", "code"))
    layout = paper.layout
    for tasks, scale, shift in ((paper, 1.0, 0.0), (code, 0.0, 0.0)):
        tensors = layout.unflatten(tasks.init_params([0, 1, 2]))
        assert abs(float(tensors["layer1.0.bn1.weight"].mean()) - scale) < 0.03
        assert abs(float(tensors["layer1.0.bn1.bias"].mean()) - shift) < 0.03
    noise = code.init_params([0, 1, 2])
    assert abs(float(noise.std()) - 0.01) < 0.001
    assert float(layout.unflatten(paper.init_params([0, 1, 2]))["conv1.weight"].abs().max()) > 0.2
    grads = [t.loss_and_grad(t.init_params([0, 1, 2]), t.draw_batch([0, 1, 2]))[1] for t in (code, paper)]
    dead, alive = (layout.unflatten(grad)["conv1.weight"].norm() for grad in grads)
    assert float(dead) < 0.01 * float(alive)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "cifar"}, "did you mean 'cifar"),
        ({"split": "tarin"}, "did you mean"),
        ({"variant": "codes"}, "did you mean 'code'"),
        ({"batch_size": 0}, r"resnet\.batch_size is out of range.*1 or more"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResNet(**bad)


def test_missing_data_are_missed_when_building_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    family = ResNet(blocks=(1,), width=2)
    spec = family.sample(torch.Generator())
    with pytest.raises(UserError, match="cifar10"):
        family.build([spec])
