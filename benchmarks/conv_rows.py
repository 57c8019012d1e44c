"""Convolutions of K instances, the ways there are: ``python benchmarks/conv_rows.py`` (some ten minutes on one core).

Forward and backward of the convolutions of the tasks' networks, at their sizes. Each way has its inputs in the memory layout in
which the previous layer, done in the same way, would have left them. Times are CPU time of the one thread, the least of several
repeats in which the ways take turns, so that a busy machine does not count. Writes ``benchmarks/results/conv-rows.json``.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from rayl2o.folder import scope
from rayl2o.seeds import generator
from rayl2o.tasks.vision.conv_rows import conv_rows, unfold

RESULT = Path(__file__).parent / "results" / "conv-rows.json"
INSTANCES = (1, 4, 8, 32, 64)
REPEATS = 7
MOST_BYTES = 2**30
"""Of the largest tensor of a way; above it the way is left out."""


@dataclass(frozen=True)
class Shape:
    """A convolution without padding, or with one zero on each side where ``padding`` says so."""

    name: str
    batch: int
    inputs: int
    side: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    first: bool = False
    """Of the first layer no gradient of the inputs is wanted."""

    @property
    def columns(self) -> int:
        """Bytes of one instance's input patches, one below the other."""
        out = (self.side + 2 * self.padding - self.kernel) // self.stride + 1
        return 4 * self.batch * out**2 * self.inputs * self.kernel**2

    @property
    def images(self) -> int:
        """Bytes of one instance's inputs or outputs, whichever are more."""
        out = (self.side + 2 * self.padding - self.kernel) // self.stride + 1
        return 4 * self.batch * max(self.side**2 * self.inputs, out**2 * self.outputs)


SHAPES = (
    Shape("conv-mnist 1", 128, 1, 28, 16, 3, first=True),
    Shape("conv-mnist 2", 128, 16, 13, 32, 5),
    Shape("conv-cifar 1", 128, 3, 32, 16, 3, stride=2, first=True),
    Shape("conv-cifar 2", 128, 16, 7, 32, 5, stride=2),
    Shape("nas-cifar cell", 128, 16, 32, 16, 3, padding=1),
    Shape("lenet 1", 128, 3, 32, 6, 5, first=True),
    Shape("lenet 2", 128, 6, 14, 16, 5),
    Shape("mnist-cnn 2", 100, 16, 26, 16, 3),
    Shape("s-cnn 2", 128, 6, 15, 12, 3),
    Shape("conv-mnist-small 1", 64, 1, 8, 8, 3, first=True),
    Shape("conv-mnist-small 2", 64, 8, 3, 16, 2),
    Shape("nas-cifar-small cell", 64, 4, 8, 4, 3, padding=1),
)


def _loop(inputs: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    each = zip(inputs.unbind(), weight.unbind(), strict=True)
    return torch.stack([conv2d(x, w, stride=shape.stride, padding=shape.padding) for x, w in each])


def _grouped(inputs: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    folded = inputs.transpose(0, 1).flatten(1, 2)
    k = len(weight)
    return unfold(conv2d(folded, weight.flatten(0, 1), None, shape.stride, shape.padding, groups=k), k)


def _columns(inputs: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    k, batch = inputs.shape[:2]
    padded = torch.nn.functional.pad(inputs, (shape.padding,) * 4)
    windows = padded.unfold(3, shape.kernel, shape.stride).unfold(4, shape.kernel, shape.stride)
    height, width = windows.shape[3:5]
    columns = windows.permute(0, 2, 5, 6, 1, 3, 4).reshape(k, -1, batch * height * width)
    return torch.bmm(weight.flatten(2), columns).view(k, -1, batch, height, width).transpose(1, 2)


def _rows(inputs: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    return conv_rows(inputs, weight, stride=shape.stride, padding=shape.padding)


def _stacked(k: int, shape: Shape, values: Tensor) -> Tensor:
    return values.view(k, shape.batch, shape.inputs, shape.side, shape.side)


def _side_by_side(k: int, shape: Shape, values: Tensor) -> Tensor:
    return unfold(values.view(shape.batch, k * shape.inputs, shape.side, shape.side), k)


def _side_by_side_last(k: int, shape: Shape, values: Tensor) -> Tensor:
    return unfold(values.view(shape.batch, shape.side, shape.side, k * shape.inputs).permute(0, 3, 1, 2), k)


Way = tuple[Callable[[Tensor, Tensor, Shape], Tensor], Callable[[int, Shape, Tensor], Tensor]]
WAYS: Mapping[str, Way] = {
    "loop": (_loop, _stacked),
    "grouped": (_grouped, _side_by_side),
    "unfold + bmm": (_columns, _stacked),
    "conv_rows: grouped, channels last": (_rows, _side_by_side_last),
}


def measure(shape: Shape, k: int) -> dict[str, float]:
    """CPU milliseconds per instance of each way."""
    rng = generator("benchmark", "conv rows")
    values = torch.randn(k * shape.batch * shape.inputs * shape.side**2, generator=rng)
    weight = torch.randn(k, shape.outputs, shape.inputs, shape.kernel, shape.kernel, generator=rng).requires_grad_()
    runs: dict[str, Callable[[], None]] = {}
    for name, (convolve, arrange) in WAYS.items():
        if k * (shape.columns if convolve is _columns else shape.images) <= MOST_BYTES:
            inputs = arrange(k, shape, values).requires_grad_(not shape.first)
            runs[name] = _run(convolve, inputs, weight, shape)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(-1, REPEATS):
        for name, run in runs.items():
            begun = time.thread_time()
            run()
            if repeat >= 0:
                seconds[name].append(time.thread_time() - begun)
    return {name: round(1e3 * min(times) / k, 4) for name, times in seconds.items()}


def _run(
    convolve: Callable[[Tensor, Tensor, Shape], Tensor], inputs: Tensor, weight: Tensor, shape: Shape
) -> Callable[[], None]:
    with torch.no_grad():
        cotangent = torch.ones_like(convolve(inputs, weight, shape))
    wanted = [weight] if shape.first else [weight, inputs]

    def run() -> None:
        torch.autograd.grad(convolve(inputs, weight, shape), wanted, cotangent)

    return run


def main(result: Path = RESULT) -> None:
    """Measures all."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = []
    for shape in SHAPES:
        for k in INSTANCES:
            found = measure(shape, k)
            rows.append({**asdict(shape), "k": k, "cpu ms per instance": found})
            print(
                f"{shape.name:<22} K = {k:<3}", "  ".join(f"{name} {ms:.3f}" for name, ms in found.items()), flush=True
            )
    result.write_text(
        json.dumps({"measured_with": {"python": platform.python_version(), **scope()}, "rows": rows}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
