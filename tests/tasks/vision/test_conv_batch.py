from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.data import DataInfo, DataSet
from rayl2o.tasks.initial import Start
from rayl2o.tasks.vision.conv_batch import Network, conv_batch
from rayl2o.tasks.vision.layers import DenseLayer

SIZES = DataInfo((1, 2, 2), 5)
DATA = DataSet(torch.arange(40.0).view(10, 4), torch.arange(10) % 5, 5)


def shown(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """The first pixel tells which example it is; logits of three classes, of which the highest is that of the params."""
    assert images.shape[2:] == SIZES.shape
    return images[..., 0, 0] + 0 * images[..., 1, 1] + tensors["top.bias"].unsqueeze(1)


def batch(kept: tuple[int, ...], k: int = 3) -> ChunkedBatch:
    network = Network((DenseLayer("top", 1, 3),), shown, peak=4, narrowest=4)
    return conv_batch(network, [Start(std=2.0), Start(value=3.0)], DATA, SIZES, k, 50, kept)


def test_params_start_as_told() -> None:
    params = batch(()).init_params([5, 6, 5])
    assert params.dtype == DATA.inputs.dtype
    assert torch.equal(params[:, 3:], torch.full((3, 3), 3.0))
    assert torch.equal(params[0], params[2])
    assert not torch.equal(params[0], params[1])


def test_only_classes_kept_are_drawn_and_numbered_anew() -> None:
    assert set(DATA.labels[batch(()).draw_batch([1, 2, 3])].flatten().tolist()) == {0, 1, 2, 3, 4}
    tasks = batch((4, 1, 2))
    rows = tasks.draw_batch([1, 2, 1])
    assert set(DATA.labels[rows].flatten().tolist()) == {1, 2, 4}
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    params = torch.zeros(3, 6)
    params[:, 3:] = torch.tensor([100.0, 0.0, 0.0])  # always the class numbered 0, which is label 4
    wrong = (DATA.labels[rows] != 4).float().mean(1)
    torch.testing.assert_close(tasks.loss_and_grad(params, rows)[0], 100 * wrong)


def test_classes_without_examples_are_refused() -> None:
    none = DataSet(DATA.inputs[:2], DATA.labels[:2], 5)
    network = Network((DenseLayer("top", 1, 3),), shown, peak=4, narrowest=4)
    with pytest.raises(UserError, match="no example of the classes"):
        conv_batch(network, [Start(), Start()], none, SIZES, 1, 2, (3, 4))


@pytest.mark.parametrize(
    ("peak", "narrowest", "batch_size", "itemsize", "chunk"),
    [
        (16 * 26 * 26, 16, 128, 4, 1),  # Conv-MNIST: wide enough, and large
        (6 * 28 * 28, 6, 128, 4, 3),  # LeNet: large, but narrow
        (8 * 6 * 6, 8, 64, 4, 28),  # a twin on digits
        (8 * 6 * 6, 8, 64, 8, 14),
        (10**6, 1, 128, 4, 8),
    ],
)
def test_instances_at_a_time(peak: int, narrowest: int, batch_size: int, itemsize: int, chunk: int) -> None:
    assert Network((), shown, peak, narrowest).chunk(batch_size, itemsize) == chunk
