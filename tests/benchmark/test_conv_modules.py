from __future__ import annotations

import pytest
import torch
from torch import nn

from rayl2o.benchmark.conv_modules import conv_net_module, nas_cell_module
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.nas_cell import NASCell


@pytest.mark.parametrize("norm", ["none", "plain", "shift", "affine"])
def test_modules_have_the_params_of_the_task_and_no_buffers(norm: str) -> None:
    """That they compute the same is tested beside the families."""
    conv_net, cell = ConvNet(norm=norm, hidden=(5,)), NASCell(norm=norm, width=3)
    for family, make in ((conv_net, conv_net_module(conv_net)), (cell, nas_cell_module(cell))):
        with torch.random.fork_rng():
            module: nn.Module = make()
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        assert sum(parameter.numel() for parameter in trained) == family.layout.size
        assert not list(module.buffers())
        assert module(torch.rand(4, 64)).shape == (4, 10)
