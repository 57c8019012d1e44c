"""Character models by a small decoder-only transformer, K of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from rayl2o.errors import UserError
from rayl2o.tasks.initial import Start
from rayl2o.tasks.language.next_character import NextCharacter, Part, embed
from rayl2o.tasks.language.text import SYMBOLS
from rayl2o.tasks.named import NamedTask

STD = 0.02
WIDENING = 4


@dataclass(frozen=True)
class CharTransformer(NextCharacter):
    """Next-character model by a causal transformer with pre-norm, in the form of GPT-2 (Radford et al. 2019).

    Learned positions; each layer adds attention, then a two-layer network with GELU, four times as wide as the model, each of
    them after layer norm (eps 1e-5); a last layer norm before the linear head, which is not tied to the characters' vectors. No
    dropout. As in GPT-2 weights start from N(0, 0.02^2), those that write to the residual stream smaller by sqrt(2 * layers);
    biases from 0, scales of norms from 1. Attention is plain arithmetic: fused kernels have no second derivative.

    Attributes:
        d_model: Width of the residual stream.
        heads: Attention heads, which share ``d_model`` out equally.
        layers: How often attention and network alternate.
    """

    family: ClassVar[str] = "char-transformer"
    time_first: ClassVar[bool] = False

    d_model: int = 32
    heads: int = 2
    layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("d_model", "heads", "layers")
        if self.d_model % self.heads:
            mend = f"use a divisor of d_model, {self.d_model}"
            raise UserError("setting char-transformer.heads does not divide d_model", value=self.heads, mend=mend)

    @property
    def plan(self) -> tuple[Part, ...]:
        """Characters, positions, layers, last norm and head; weights ``[in, out]``; queries, keys, values side by side."""
        d, last = self.d_model, self.layers + 1
        return (
            Part("embedding.weight", (SYMBOLS, d), "weight", 0, Start(std=STD)),
            Part("position.weight", (self.length, d), "weight", 0, Start(std=STD)),
            *(part for layer in range(self.layers) for part in self._layer(f"layer_{layer}", layer + 1)),
            *_norm_parts("norm", d, last),
            Part("head.weight", (d, SYMBOLS), "weight", last, Start(std=STD)),
            Part("head.bias", (SYMBOLS,), "bias", last, Start()),
        )

    def _layer(self, name: str, depth: int) -> tuple[Part, ...]:
        d, wide, writing = self.d_model, WIDENING * self.d_model, STD / math.sqrt(2 * self.layers)
        return (
            *_norm_parts(f"{name}.attention.norm", d, depth),
            *_linear_parts(f"{name}.attention.read", d, 3 * d, depth, STD),
            *_linear_parts(f"{name}.attention.write", d, d, depth, writing),
            *_norm_parts(f"{name}.network.norm", d, depth),
            *_linear_parts(f"{name}.network.read", d, wide, depth, STD),
            *_linear_parts(f"{name}.network.write", wide, d, depth, writing),
        )

    def logits(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Scores ``[K, B * L, V]``."""
        stream = embed(tensors["embedding.weight"], inputs) + tensors["position.weight"].unsqueeze(1)
        stream = stream.flatten(1, 2)
        # Added to the scores: -inf where a place (row) must not see another one (column), which comes after it.
        unseen = stream.new_full((self.length, self.length), -math.inf).triu(1)
        for layer in range(self.layers):
            attention, network = f"layer_{layer}.attention", f"layer_{layer}.network"
            read = _read(tensors, f"{attention}.norm", f"{attention}.read", stream)
            stream = stream + _linear(tensors, f"{attention}.write", self._attend(read, unseen))
            wide = gelu(_read(tensors, f"{network}.norm", f"{network}.read", stream))
            stream = stream + _linear(tensors, f"{network}.write", wide)
        return _read(tensors, "norm", "head", stream)

    def _attend(self, read: Tensor, unseen: Tensor) -> Tensor:
        """Heads side by side ``[K, B * L, d]``, from queries, keys and values ``[K, B * L, 3d]`` and a mask ``[L, L]``."""
        (k, rows, _), width = read.shape, self.d_model // self.heads
        split = read.view(k * rows // self.length, self.length, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        query, key, value = split.flatten(1, 2).unbind(0)
        chances = torch.baddbmm(unseen, query, key.mT, alpha=width**-0.5).softmax(2)
        seen = torch.bmm(chances, value).view(-1, self.heads, self.length, width)
        return seen.transpose(1, 2).reshape(k, rows, self.d_model)


def _linear_parts(name: str, fan_in: int, fan_out: int, depth: int, std: float) -> tuple[Part, Part]:
    weight = Part(f"{name}.weight", (fan_in, fan_out), "weight", depth, Start(std=std))
    return weight, Part(f"{name}.bias", (fan_out,), "bias", depth, Start())


def _norm_parts(name: str, width: int, depth: int) -> tuple[Part, Part]:
    scale = Part(f"{name}.weight", (width,), "norm", depth, Start(value=1.0))
    return scale, Part(f"{name}.bias", (width,), "norm", depth, Start())


def _linear(tensors: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    """``[K, N, in]`` to ``[K, N, out]``."""
    return torch.baddbmm(tensors[f"{name}.bias"].unsqueeze(1), values, tensors[f"{name}.weight"])


def _read(tensors: Mapping[str, Tensor], norm: str, linear: str, values: Tensor) -> Tensor:
    """A linear layer of the layer norm of ``[K, N, in]``: the norm's scale and shift go into weight and bias, which are small."""
    weight, scale, shift = tensors[f"{linear}.weight"], tensors[f"{norm}.weight"], tensors[f"{norm}.bias"]
    bias = torch.baddbmm(tensors[f"{linear}.bias"].unsqueeze(1), shift.unsqueeze(1), weight)
    return torch.baddbmm(bias, layer_norm(values, values.shape[-1:]), scale.unsqueeze(2) * weight)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "char-gpt": NamedTask(
            "char-transformer",
            {"d_model": 384, "heads": 6, "layers": 6},
            "next-character transformer of 6 layers of width 384, the shape of nanoGPT's character model",
            {"length": 256, "batch_size": 64},
        ),
        "char-gpt-small": NamedTask(
            "char-transformer",
            {"d_model": 16, "heads": 2, "layers": 2},
            "next-character transformer of 2 layers of width 16",
            {"length": 16, "batch_size": 16},
            twin_of="char-gpt",
        ),
    }
)
