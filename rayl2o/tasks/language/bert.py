"""BERT for sequence classification as a function of its params; the architecture is that of the library ``transformers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.tasks.initial import Start
from rayl2o.tasks.language.tokens import Sentences
from rayl2o.tasks.optional_library import import_optional

STD = 0.02
_ATTENTION = "rayl2o_plain"
FIXED: Mapping[str, Any] = MappingProxyType(
    {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0}
)
"""What is the same in every BERT that is built here, as a ``config.json`` names it."""


@dataclass(frozen=True)
class BertShape:
    """Sizes of a BERT (Devlin et al. 2018) with a linear classifier on its pooled first token.

    Attributes:
        layers: Encoder layers.
        hidden: Width.
        heads: Attention heads, which share ``hidden`` out equally.
        feedforward: Width inside the two-layer networks.
        vocabulary: Tokens that have a vector.
        positions: Positions that have a vector.
        classes: Number of classes.
    """

    layers: int
    hidden: int
    heads: int
    feedforward: int
    vocabulary: int
    positions: int
    classes: int

    @property
    def config(self) -> Mapping[str, int]:
        """The sizes as a ``config.json`` names them, without the classes."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feedforward,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
        }

    @cached_property
    def layout(self) -> Layout:
        """Tensors in the order and by the names of the module's ``named_parameters()``; needs no library."""
        found = [
            ("bert.embeddings.word_embeddings.weight", (self.vocabulary, self.hidden), 0),
            ("bert.embeddings.position_embeddings.weight", (self.positions, self.hidden), 0),
            ("bert.embeddings.token_type_embeddings.weight", (FIXED["type_vocab_size"], self.hidden), 0),
            *_pair("bert.embeddings.LayerNorm", (self.hidden,), 0),
            *(tensor for i in range(self.layers) for tensor in self._layer(f"bert.encoder.layer.{i}", i + 1)),
            *_pair("bert.pooler.dense", (self.hidden, self.hidden), self.layers + 1),
            *_pair("classifier", (self.classes, self.hidden), self.layers + 2),
        ]
        names, shapes, depths = zip(*found, strict=True)
        kinds = tuple("norm" if "LayerNorm" in name else name.rpartition(".")[2] for name in names)
        return Layout(names, shapes, kinds, depths)

    @property
    def starts(self) -> list[Start]:
        """BERT's own: weights and vectors N(0, 0.02^2), biases 0, scales of norms 1."""
        scales = [name.endswith("LayerNorm.weight") for name in self.layout.names]
        return [
            Start(std=STD) if kind == "weight" else Start(value=float(scale))
            for kind, scale in zip(self.layout.kinds, scales, strict=True)
        ]

    def _layer(self, name: str, depth: int) -> list[tuple[str, tuple[int, ...], int]]:
        square = (self.hidden, self.hidden)
        return [
            *(t for part in ("query", "key", "value") for t in _pair(f"{name}.attention.self.{part}", square, depth)),
            *_pair(f"{name}.attention.output.dense", square, depth),
            *_pair(f"{name}.attention.output.LayerNorm", (self.hidden,), depth),
            *_pair(f"{name}.intermediate.dense", (self.feedforward, self.hidden), depth),
            *_pair(f"{name}.output.dense", (self.hidden, self.feedforward), depth),
            *_pair(f"{name}.output.LayerNorm", (self.hidden,), depth),
        ]


def _pair(name: str, shape: tuple[int, ...], depth: int) -> list[tuple[str, tuple[int, ...], int]]:
    return [(f"{name}.weight", shape, depth), (f"{name}.bias", shape[:1], depth)]


class Bert:
    """The module, built on the meta device: it holds no numbers, all come with a call.

    Args:
        shape: Its sizes.
        dropout: Whether its sentences bring dropout masks along.

    Raises:
        UserError: If ``transformers`` is not installed, or its BERT is not the one that is known here.
    """

    def __init__(self, shape: BertShape, dropout: bool = False) -> None:
        library: Any = import_optional("transformers", "hf", "the architecture of BERT")
        library.AttentionInterface.register(_ATTENTION, _attend)
        config = library.BertConfig(**shape.config, **FIXED)
        config.num_labels = shape.classes
        config._attn_implementation = _ATTENTION
        with torch.device("meta"):
            module = library.BertForSequenceClassification(config).eval()
        found = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
        if list(found.items()) != list(zip(shape.layout.names, shape.layout.shapes, strict=True)):
            mend = "install the version that pip install 'rayl2o[hf]' chooses"
            raise UserError("transformers builds BERT of other tensors", value=library.__version__, mend=mend)
        self._module, self._shape = module, shape
        parts = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Dropout)]
        self._dropouts = parts if dropout else []
        for name in self._dropouts:
            module.set_submodule(name, _Keep())

    def logits(self, params: Tensor, sentences: Sentences) -> Tensor:
        """Scores ``[K, B, C]``, from params ``[K, D]``; twice differentiable in them."""
        if len(params) > 1:
            return vmap(self._one)(params, sentences.tokens, sentences.types, sentences.unseen, dict(sentences.kept))
        kept = {name: values.squeeze(0) for name, values in sentences.kept.items()}
        tokens, types, unseen = sentences.tokens.squeeze(0), sentences.types.squeeze(0), sentences.unseen.squeeze(0)
        return self._one(params.squeeze(0), tokens, types, unseen, kept).unsqueeze(0)

    def dropout_shapes(self, batch_size: int, length: int) -> dict[str, tuple[int, ...]]:
        """The shapes of one instance's dropout masks, by name; none without dropout."""
        width, heads = self._shape.hidden, self._shape.heads

        def shape(name: str) -> tuple[int, ...]:
            if name == "dropout":  # of the pooled first token
                return batch_size, width
            inside = name.endswith("attention.self.dropout")
            return (batch_size, heads, length, length) if inside else (batch_size, length, width)

        return {f"{name}.kept": shape(name) for name in self._dropouts}

    def _one(self, params: Tensor, tokens: Tensor, types: Tensor, unseen: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        """Scores ``[B, C]`` of one instance from its params ``[D]``."""
        places = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        given = {"input_ids": tokens, "token_type_ids": types, "attention_mask": unseen, "position_ids": places}
        tensors = {**self._shape.layout.unflatten(params), **kept}
        logits: Tensor = functional_call(self._module, tensors, (), given).logits
        return logits


class _Keep(torch.nn.Module):
    """Stands for a dropout whose mask comes from outside, so that a loss is a function of params and minibatch alone."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.empty(0, device="meta"), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """``values`` times the mask."""
        return values * self.kept


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, *, scaling: float, **_: object
) -> tuple[Tensor, Tensor]:
    """Attention in plain arithmetic, ``[B, heads, L, width]`` to ``[B, L, heads, width]``: fused kernels lack second derivatives.

    The library calls it by the name under which it is registered; its own one draws dropout from the global generator.
    """
    chances: Tensor = module.dropout((query @ key.mT * scaling + attention_mask).softmax(-1))
    return (chances @ value).transpose(1, 2), chances
