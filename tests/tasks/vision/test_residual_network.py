from __future__ import annotations

import torch

from rayl2o.tasks.vision.residual_network import Block, ConvNorm, ResidualNetwork

NETWORK = ResidualNetwork(
    (
        Block((ConvNorm("conv1", "bn1", 1, 2, 3),)),
        Block(
            (ConvNorm("a.conv1", "a.bn1", 2, 2, 3, stride=2, groups=2), ConvNorm("a.conv2", "a.bn2", 2, 3, 1)),
            shortcut=(ConvNorm("a.shortcut.0", "a.shortcut.1", 2, 3, 1, stride=2),),
            relu=False,
        ),
        Block((ConvNorm("b.conv1", "b.bn1", 3, 3, 3),), shortcut=()),
    ),
    classes=4,
)


def test_layout_lists_the_tensors_in_order_with_kinds_and_depths() -> None:
    layout = NETWORK.layout
    assert layout.names == (
        *("conv1.weight", "bn1.weight", "bn1.bias"),
        *("a.conv1.weight", "a.bn1.weight", "a.bn1.bias", "a.conv2.weight", "a.bn2.weight", "a.bn2.bias"),
        *("a.shortcut.0.weight", "a.shortcut.1.weight", "a.shortcut.1.bias"),
        *("b.conv1.weight", "b.bn1.weight", "b.bn1.bias", "linear.weight", "linear.bias"),
    )
    assert layout.shapes[:4] == ((2, 1, 3, 3), (2,), (2,), (2, 1, 3, 3))  # the fourth is depthwise
    assert layout.shapes[9] == (3, 2, 1, 1)
    assert layout.shapes[-2:] == ((4, 3), (4,))
    assert layout.kinds == ("weight", "norm", "norm") * 5 + ("weight", "bias")
    assert layout.depths == (0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1, 3, 3, 3, 4, 4)


def test_sides_round_up_as_the_convolutions_do() -> None:
    """7 x 5 becomes 4 x 3; the largest images are the first two channels."""
    assert NETWORK.sides(7, 5) == [(7, 5), (4, 3), (4, 3), (4, 3)]
    assert NETWORK.peak(7, 5) == 2 * 7 * 5
    seen = []
    tensors = NETWORK.layout.unflatten(torch.randn(1, NETWORK.layout.size, generator=torch.Generator().manual_seed(0)))
    values = torch.ones(1, 2, 1, 7, 5)
    for block in NETWORK.blocks:
        values = block.forward(tensors, values)
        seen.append(tuple(values.shape[-2:]))
    assert seen == [(7, 5), (4, 3), (4, 3)]


def test_logits_depend_neither_on_the_scale_before_a_norm_nor_on_earlier_calls() -> None:
    """That is batch norm by the minibatch's own statistics: running ones would remember another scale."""
    rng = torch.Generator().manual_seed(1)
    params = torch.randn(3, NETWORK.layout.size, generator=rng, dtype=torch.float64)
    images = torch.randn(3, 6, 1, 7, 5, generator=rng, dtype=torch.float64)

    def logits(scale: float) -> torch.Tensor:
        tensors = NETWORK.layout.unflatten(params)
        return NETWORK.logits({n: scale * t if t.dim() == 5 else t for n, t in tensors.items()}, images)

    one = logits(1e4)  # far above the constant that batch norm adds to variances
    torch.testing.assert_close(logits(1e6), one, rtol=1e-6, atol=1e-6)
    assert torch.equal(logits(1e4), one)
