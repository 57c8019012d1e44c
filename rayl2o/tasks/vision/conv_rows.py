"""Convolution, pooling and batch norm of K networks side by side, each with its own weights; differentiable twice.

Images are ``[K, B, C, H, W]`` throughout, and instance k of a result depends on instance k of the arguments only, NaN or not.
In memory the K instances lie side by side in the channels, channels last, ``[B, H, W, K C]``: one grouped convolution, one
pooling, one batch norm do all K. Results are views of such memory, so a chain of these functions copies nothing in between.

This way was measured against a loop over instances, a grouped convolution with channels first, and matrix products of unfolded
patches (``benchmarks/conv_rows.py``: 12 convolutions of the tasks, forward and backward, CPU time of one thread). In the
geometric mean it takes 1/1.15 of the loop's time at K = 1 and 1/1.5 at K = 4 to 32, 1/1.1 and 1/1.8 of the grouped one's, 1/2.4
and 1/3.3 of the unfolded one's. It is the fastest or within a tenth of it at K = 4 to 32 wherever there is more than one input
channel, but for one loop at K = 32. Unfolding wins for a single input channel (by up to 1.5 times), and the loop at K = 64 if the
images are large, by up to 1.3 times: no task has so many large ones at a time, see :mod:`~rayl2o.tasks.vision.conv_batch`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, max_pool2d, pad

VALID, SAME = "valid", "same"


def conv_rows(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: str | int = VALID,
    groups: int = 1,
) -> Tensor:
    """2-D convolution (without flipping the kernel, as everywhere in the field) of K instances, ``[K, B, O, H', W']``.

    Args:
        inputs: ``[K, B, C, H, W]``; or ``[1, B, C, H, W]``, shared by all.
        weight: ``[K, O, C / groups, kh, kw]``.
        bias: ``[K, O]``.
        stride: Along both axes.
        padding: ``valid``; ``same``, which is TensorFlow's: an output of ceil(size / stride), and where an odd number of zeros
            is needed the extra one stands below and right; or a number of zeros on each side, which is torch's.
        groups: Within each instance, as in torch; C of them make a depthwise convolution.
    """
    k = len(weight)
    one = len(inputs) == 1 and groups == 1  # the instances then differ in their output channels only
    images = fold(inputs if one else inputs.expand(k, -1, -1, -1, -1))
    zeros = _zeros(images.shape[2:], weight.shape[3:], stride, padding)
    if zeros[0] != zeros[1]:
        (top, left), (bottom, right) = zeros
        images, zeros = pad(images, (left, right, top, bottom)), ((0, 0), (0, 0))
    kernels = _channels_last(weight.flatten(0, 1).permute(0, 2, 3, 1))
    shift = None if bias is None else bias.flatten()
    return unfold(conv2d(images, kernels, shift, stride, zeros[0], groups=1 if one else k * groups), k)


def max_pool_rows(inputs: Tensor, size: int, stride: int | None = None) -> Tensor:
    """Maxima over ``size`` x ``size`` windows of ``inputs [K, B, C, H, W]``, no padding; ``stride`` defaults to ``size``."""
    return unfold(max_pool2d(fold(inputs), size, stride), len(inputs))


def avg_pool_rows(inputs: Tensor, size: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Means over ``size`` x ``size`` windows of ``inputs [K, B, C, H, W]``; ``stride`` defaults to ``size``.

    ``padding`` positions on each side are not counted in the mean, as in TensorFlow; torch counts them by default.
    """
    return unfold(avg_pool2d(fold(inputs), size, stride, padding, count_include_pad=False), len(inputs))


def batch_norm_rows(
    inputs: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``(inputs - mean) / sqrt(variance + eps) * scale + shift``, statistics of the minibatch, per instance and channel.

    The papers' networks never use running statistics, in evaluation neither; so there are none, and nothing is mutated.

    Args:
        inputs: ``[K, B, C, H, W]``, or ``[K, B, C]`` after a dense layer.
        scale, shift: ``[K, C]``; 1 and 0 if absent.
        eps: 1e-5 is torch's default, 1e-3 that of TensorFlow and Sonnet.
    """
    images = fold(inputs)
    if scale is None:
        normal = batch_norm(images, None, None, training=True, eps=eps)
        if shift is not None:  # not by torch, whose second derivative leaves out a shift without a scale
            normal = normal + shift.flatten().view(-1, *[1] * (images.dim() - 2))
    else:
        shifts = None if shift is None else shift.flatten()
        normal = batch_norm(images, None, None, scale.flatten(), shifts, training=True, eps=eps)
    return unfold(normal, len(inputs))


def fold(inputs: Tensor) -> Tensor:
    """``[K, B, C, H, W]`` as ``[B, K C, H, W]``, channels last; ``[K, B, C]`` as ``[B, K C]``. No copy of what is unfolded."""
    if inputs.dim() == 3:
        return inputs.transpose(0, 1).flatten(1)
    k, channels = inputs.shape[0], inputs.shape[2]
    if inputs.stride()[::2] == (channels, 1, k * channels):  # what unfold gave: fewer steps for autograd to record
        return inputs.transpose(0, 1).flatten(1, 2)
    return _channels_last(inputs.permute(1, 3, 4, 0, 2).flatten(3))


def unfold(folded: Tensor, k: int) -> Tensor:
    """Inverse of :func:`fold`; a view."""
    batch, channels, *size = folded.shape
    return folded.view(batch, k, channels // k, *size).transpose(0, 1)


def _channels_last(values: Tensor) -> Tensor:
    """``[N, H, W, C]`` as ``[N, C, H, W]``, channels last in torch's eyes too.

    It goes by the strides, which a plain ``contiguous`` leaves as they are where C is 1, and would then return to channels first.
    """
    return values.flatten().view(values.shape).permute(0, 3, 1, 2)


def _zeros(
    sizes: Sequence[int], kernel: Sequence[int], stride: int, padding: str | int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before and after each axis."""
    if padding != SAME:
        around = (padding if isinstance(padding, int) else 0,) * len(sizes)
        return around, around
    needed = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, kernel, strict=True)]
    return tuple(n // 2 for n in needed), tuple(n - n // 2 for n in needed)
