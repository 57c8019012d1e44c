from __future__ import annotations

import os

import pytest
import torch
from torch.nn.functional import pad

from rayl2o.errors import UserError
from rayl2o.tasks.data import DATA, load
from rayl2o.tasks.vision.image_augmentation import AUGMENTATION, NORMALISATION, Augmentation

CIFAR = AUGMENTATION["cifar10"]


def test_crops_are_those_of_a_padded_image_cut_and_mirrored_one_by_one() -> None:
    images = torch.rand(3, 20, 2, 6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    augmentation = Augmentation(padding=3, flip=True)
    draws = augmentation.draw([0, 1, 2], 20)
    crops = augmentation.apply(images, draws)
    for k in range(3):
        for b in range(20):
            top, left, flip = draws[k, b].tolist()
            expected = pad(images[k, b], (3, 3, 3, 3))[:, top : top + 6, left : left + 9]
            assert torch.equal(crops[k, b], expected.flip(-1) if flip else expected)
    assert torch.equal(augmentation.apply(images[1], draws[1]), crops[1])


def test_every_place_of_the_crop_and_both_sides_are_drawn_alike() -> None:
    draws = CIFAR.draw([3], 90_000)[0]
    assert draws.dtype == torch.int64
    for edge in (draws[:, 0], draws[:, 1]):
        shares = torch.bincount(edge, minlength=9) / len(draws)
        assert len(shares) == 9
        torch.testing.assert_close(shares, torch.full((9,), 1 / 9), rtol=0.05, atol=0)
    assert abs(float(draws[:, 2].double().mean()) - 0.5) < 0.01


def test_draws_depend_on_their_seed_alone() -> None:
    draws = CIFAR.draw([5, 6, 5], 32)
    assert draws.shape == (3, 32, 3)
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(draws[1:2], CIFAR.draw([6], 32))


def test_without_border_and_flip_images_stay_as_they_are() -> None:
    images = torch.rand(2, 4, 1, 5, 5)
    still = Augmentation(padding=0, flip=False)
    draws = still.draw([0, 1], 4)
    assert int(draws.sum()) == 0
    assert torch.equal(still.apply(images, draws), images)


def test_images_are_not_written_to() -> None:
    images = torch.rand(1, 50, 3, 8, 8)
    before = images.clone()
    CIFAR.apply(images, CIFAR.draw([0], 50))
    NORMALISATION["cifar10"].apply(images)
    assert torch.equal(images, before)


def test_digits_are_not_mirrored() -> None:
    for name in ("digits", "mnist"):
        assert int(AUGMENTATION[name].draw([0], 100)[..., 2].sum()) == 0


def test_normalisation_is_per_channel() -> None:
    images = torch.tensor([0.4914, 0.4822 + 0.1994, 0.4465 - 2 * 0.2010]).reshape(3, 1, 1).expand(5, 3, 2, 2)
    expected = torch.tensor([0.0, 1.0, -2.0]).reshape(3, 1, 1).expand(5, 3, 2, 2)
    torch.testing.assert_close(NORMALISATION["cifar10"].apply(images), expected, rtol=0, atol=1e-6)
    assert NORMALISATION["cifar10"].apply(images.double()).dtype == torch.float64


def test_every_data_set_of_images_has_its_constants() -> None:
    images = {name for name, known in DATA.items() if len(known.shape) == 3}
    assert set(AUGMENTATION) == set(NORMALISATION) == images
    for name in images:
        assert len(NORMALISATION[name].mean) == len(NORMALISATION[name].std) == DATA[name].shape[0]
        assert AUGMENTATION[name].padding <= DATA[name].shape[1] / 8


def test_normalised_digits_have_mean_0_and_deviation_1() -> None:
    values = NORMALISATION["digits"].apply(load("digits").inputs.reshape(-1, 1, 8, 8))
    assert abs(float(values.mean())) < 1e-3
    assert abs(float(values.std()) - 1) < 1e-3


@pytest.mark.skipif("RAYL2O_DATA" not in os.environ, reason="RAYL2O_DATA is not set: no real images here")
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_constants_fit_the_real_images(name: str) -> None:
    """Within what part of the data is shared here; CIFAR's deviations are each image's own."""
    images = load(name).inputs.reshape(-1, *DATA[name].shape)
    normalised = NORMALISATION[name].apply(images)
    assert float(normalised.mean((0, 2, 3)).abs().max()) < 0.02
    std = normalised.std((2, 3)).mean(0) if name == "cifar10" else normalised.std((0, 2, 3))
    assert float((std - 1).abs().max()) < 0.02


def test_a_negative_border_is_refused() -> None:
    with pytest.raises(UserError, match=r"augmentation\.padding.*0 or more"):
        Augmentation(padding=-1, flip=True)
