from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.benchmark.conv_modules import nas_cell_module
from rayl2o.errors import UserError
from rayl2o.tasks.settings import from_settings
from rayl2o.tasks.vision.nas_cell import NAMED, NAS_CIFAR, Edge, NASCell, edges_of
from tests.tasks.vision.module_oracle import assert_is_module


def named(name: str, **settings: Any) -> NASCell:
    family = from_settings(NASCell, {**NAMED[name].defaults, **NAMED[name].fixed, **settings}, name)
    assert isinstance(family, NASCell)
    return family


def test_true_size_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    family = named("nas-cifar")
    assert family.layout.size == 7_578
    assert named("nas-cifar", norm="affine").layout.size == 7_578 + 2 * 4 * 16
    assert family.layout.names[::2] == (
        *("stem.weight", "edge_0_1.weight", "edge_0_2.weight", "edge_1_3.weight", "dense.weight"),
    )
    assert family.layout.depths[::2] == (0, 1, 2, 3, 4)
    with pytest.raises(UserError, match="RAYL2O_DATA"):
        family.build([family.sample(torch.Generator())])


def test_the_cell_of_the_paper() -> None:
    assert edges_of(NAS_CIFAR) == (
        Edge(0, 1, "nor_conv_3x3"),
        Edge(0, 2, "nor_conv_3x3"),
        Edge(1, 2, "avg_pool_3x3"),
        Edge(0, 3, "skip_connect"),
        Edge(1, 3, "nor_conv_3x3"),
        Edge(2, 3, "skip_connect"),
    )


@pytest.mark.parametrize("name", NAMED)
def test_named_networks_are_those_of_torch(name: str) -> None:
    assert_is_module(named(name), nas_cell_module(named(name)), batch=3)


@pytest.mark.parametrize(
    "cell",
    [
        "|skip_connect~0|",
        "|none~0|+|avg_pool_3x3~0|none~1|",
        "|nor_conv_1x1~0|+|nor_conv_3x3~1|+|nor_conv_1x1~2|avg_pool_3x3~0|skip_connect~1|+|none~0|skip_connect~3|",
        "|nor_conv_3x3~0|+|none~0|none~1|",
    ],
)
@pytest.mark.parametrize("norm", ["none", "affine"])
def test_any_cell_is_that_of_torch(cell: str, norm: str) -> None:
    family = NASCell(cell=cell, width=3, norm=norm, logits_relu=False)
    assert_is_module(family, nas_cell_module(family), k=3)


def test_the_twin_is_small() -> None:
    twin, whole = named("nas-cifar-small"), named("nas-cifar")
    assert (twin.cell, twin.norm, twin.logits_relu) == (whole.cell, whole.norm, whole.logits_relu)
    assert twin.layout.size < 1_000
    tasks = twin.build([twin.sample(torch.Generator())])
    loss, _ = tasks.loss_and_grad(tasks.init_params([0]), tasks.draw_batch([0]))
    assert abs(float(loss) - 2.3026) < 0.05


def test_variants_differ_in_the_biases() -> None:
    family = NASCell(width=3, variant="code")
    tensors = family.layout.unflatten(family.build([family.sample(torch.Generator())]).init_params([0]))
    assert all(not tensor.any() for name, tensor in tensors.items() if name.endswith("bias"))
    assert all(tensor.all() for name, tensor in tensors.items() if name.endswith("weight"))


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "nor_conv_3x3~0",
        "|nor_conv_3x3|",
        "|nor_conv_3x3~1|",
        "|nor_conv_3x3~00|",
        "|nor_conv_5x5~0|",
        "|none~0|+|none~0|none~0|",
        "|none~0|+||",
        "|none~0|+|none~2|",
        "||none~0||",
    ],
)
def test_what_is_no_cell(cell: str) -> None:
    with pytest.raises(UserError, match=r"nas-cell.cell is no cell of NAS-Bench-201.*operation~node"):
        NASCell(cell=cell)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "mnits"}, "did you mean 'mnist'"),
        ({"norm": "batch"}, "unknown norm"),
        ({"variant": "text"}, "unknown variant"),
        ({"split": "valid"}, "unknown split"),
        ({"width": 0}, "nas-cell.width is out of range"),
        ({"batch_size": 1}, "nas-cell.batch_size is out of range.*2 or more"),
        ({"init_std": -0.1}, "nas-cell.init_std is out of range"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NASCell(**bad)
