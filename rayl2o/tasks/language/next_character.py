"""What next-character models have in common: windows of text as minibatches, and the cross entropy of what comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.datasets.base import PARTS
from rayl2o.tasks.initial import Start, start_rows
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.language.text import load_text, require_text
from rayl2o.tasks.minibatch import draw_minibatch
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec

CHUNK_CHARACTERS = 8192
"""Characters read at a time, over all instances: with more of them the gain of a batch is lost again to memory (measured)."""


@dataclass(frozen=True)
class NextCharacter(ABC):
    """A model of a text's next character; only its start and its minibatches are random.

    Attributes:
        text: As :func:`~rayl2o.tasks.language.text.load_text` takes it.
        length: L, consecutive characters that are read, and predicted one ahead, per window.
        batch_size: B, windows per minibatch, which start anywhere in the text, drawn with replacement.
        split: ``train`` or ``test``.

    Raises:
        UserError: If a name is unknown or a number is not positive.
    """

    family: ClassVar[str]
    time_first: ClassVar[bool]
    """Whether :meth:`logits` goes through all windows at once, place by place, or through them one after another."""

    text: str = "unicode-names"
    length: int = 32
    batch_size: int = 32
    split: str = "train"

    def __post_init__(self) -> None:
        require_text(self.text)
        require_one_of("split", self.split, PARTS)
        self._require_positive("length", "batch_size")

    @property
    @abstractmethod
    def plan(self) -> tuple[Part, ...]:
        """The model's tensors from the characters up."""

    @abstractmethod
    def logits(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Scores ``[K, N, V]`` of what comes next, in the order of :attr:`time_first`.

        Args:
            tensors: ``[K, *shape]`` by name.
            inputs: Characters, int64 ``[K, L, B]`` if time is first, else ``[K, B, L]``.
        """

    @property
    def layout(self) -> Layout:
        """That of :attr:`plan`; reads no data."""
        names, shapes, kinds, depths = zip(*((t.name, t.shape, t.kind, t.depth) for t in self.plan), strict=True)
        return Layout(names, shapes, kinds, depths)

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ChunkedBatch:
        """K models side by side on one copy of the text; losses in nats per character, averaged over the minibatch.

        Raises:
            UserError: If a spec is not of this family with these settings, or the text cannot be read or is too short.
        """
        require_same(self, specs)
        layout, starts = self.layout, [tensor.start for tensor in self.plan]
        text = load_text(self.text, self.split, device=device)
        places = len(text.codes) - self.length
        if places < 1:
            mend = f"use {len(text.codes) - 1} or less, or a longer text"
            what = f"setting {self.family}.length leaves no room in the {self.split} part of text {self.text!r}"
            raise UserError(what, value=self.length, mend=mend)

        def losses(params: Tensor, batch: Tensor) -> Tensor:
            windows = text.windows(batch, self.length)
            inputs, targets = windows[..., :-1], windows[..., 1:]
            if self.time_first:
                inputs, targets = inputs.mT, targets.mT
            return mean_cross_entropy(self.logits(layout.unflatten(params), inputs), targets)

        def start(seeds: Sequence[int]) -> Tensor:
            return start_rows(seeds, layout, starts, device=device, dtype=dtype)

        def draw(seeds: Sequence[int]) -> Tensor:
            return draw_minibatch(seeds, places, self.batch_size, self.length + 1, device).rows()

        chunk = max(1, CHUNK_CHARACTERS // (self.batch_size * self.length))
        return ChunkedBatch(layout, len(specs), losses, start, draw, chunk)

    def _require_positive(self, *names: str) -> None:
        for name in names:
            require_within(f"{self.family}.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class Part:
    """A tensor of a model.

    Attributes:
        name, shape, kind, depth: As in a :class:`~rayl2o.layout.Layout`.
        start: How it starts.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    depth: int
    start: Start


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats per character ``[K]``, from scores ``[K, N, V]`` and the characters that came, int64 ``[K, *shape]``, N each."""
    rows = cross_entropy(logits.flatten(0, 1), targets.reshape(-1), reduction="none")
    return rows.view(logits.shape[:2]).mean(1)


def embed(table: Tensor, rows: Tensor, axis: int = 0) -> Tensor:
    """Each instance's own vectors ``[*shape, E]``.

    Args:
        table: ``[K, V, E]``.
        rows: Row numbers, int64 ``[*shape]``.
        axis: That of the instances in ``rows``.
    """
    k, symbols, width = table.shape
    shape = [1] * rows.dim()
    shape[axis] = k
    first = torch.arange(0, k * symbols, symbols, device=rows.device).view(shape)
    return torch.embedding(table.reshape(k * symbols, width), rows + first)
