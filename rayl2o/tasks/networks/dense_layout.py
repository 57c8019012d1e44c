"""The layout of a chain of fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rayl2o.layout import Layout


def dense_layout(widths: Sequence[int]) -> Layout:
    """``layer_i.weight [in, out]`` and ``layer_i.bias [out]`` for each layer, from the input up.

    Args:
        widths: Of the input, the hidden layers and the output; two at least.
    """
    pairs = list(pairwise(widths))
    return Layout(
        names=tuple(f"layer_{i}.{kind}" for i in range(len(pairs)) for kind in ("weight", "bias")),
        shapes=tuple(shape for fan_in, fan_out in pairs for shape in ((fan_in, fan_out), (fan_out,))),
        kinds=("weight", "bias") * len(pairs),
        depths=tuple(i for i in range(len(pairs)) for _ in range(2)),
    )
