"""Character models as plain ``torch.nn`` modules: oracles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from rayl2o.tasks.language.char_rnn import CharRNN
from rayl2o.tasks.language.char_transformer import CharTransformer
from rayl2o.tasks.language.text import SYMBOLS

TRANSPOSED = (".read.weight", ".write.weight", "head.weight")
"""Ends of the names of a transformer's tensors that ``nn.Linear`` keeps as ``[out, in]``."""


class Recurrent(nn.Module):
    """Embedding, ``nn.RNN`` or ``nn.GRU``, linear head."""

    def __init__(self, family: CharRNN, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        gru = family.cell == "gru"
        self.embedding = nn.Embedding(SYMBOLS, family.embedding)
        self.cell = (nn.GRU if gru else nn.RNN)(family.embedding, family.hidden, batch_first=True)
        self.head = nn.Linear(family.hidden, SYMBOLS)
        self.double()
        recurrent_bias = torch.zeros_like(tensors["cell.bias"])
        if gru:
            recurrent_bias[2 * family.hidden :] = tensors["cell.candidate_bias"]
        _fill(
            self,
            {
                "embedding.weight": tensors["embedding.weight"],
                "cell.weight_ih_l0": tensors["cell.input_weight"].T,
                "cell.weight_hh_l0": tensors["cell.hidden_weight"].T,
                "cell.bias_ih_l0": tensors["cell.bias"],
                "cell.bias_hh_l0": recurrent_bias,
                "head.weight": tensors["head.weight"].T,
                "head.bias": tensors["head.bias"],
            },
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Nats per character of ``[B, L + 1]``."""
        states, _ = self.cell(self.embedding(windows[:, :-1]))
        return cross_entropy(self.head(states).mT, windows[:, 1:])


class Layer(nn.Module):
    """Attention and a two-layer network, each after layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict(
            {"norm": nn.LayerNorm(width), "read": nn.Linear(width, 3 * width), "write": nn.Linear(width, width)}
        )
        self.network = nn.ModuleDict(
            {"norm": nn.LayerNorm(width), "read": nn.Linear(width, 4 * width), "write": nn.Linear(4 * width, width)}
        )

    def forward(self, stream: Tensor) -> Tensor:
        """``[B, L, d]`` to the same."""
        read = self.attention["read"](self.attention["norm"](stream))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in read.chunk(3, 2))
        seen = scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.attention["write"](seen.transpose(1, 2).flatten(2))
        wide = nn.functional.gelu(self.network["read"](self.network["norm"](stream)))
        updated: Tensor = stream + self.network["write"](wide)
        return updated


class Transformer(nn.Module):
    """Characters and positions, layers, last norm, linear head."""

    def __init__(self, family: CharTransformer, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, family.d_model)
        self.position = nn.Embedding(family.length, family.d_model)
        for layer in range(family.layers):
            self.add_module(f"layer_{layer}", Layer(family.d_model, family.heads))
        self.norm = nn.LayerNorm(family.d_model)
        self.head = nn.Linear(family.d_model, SYMBOLS)
        self.layers = family.layers
        self.double()
        _fill(self, {name: t.T if name.endswith(TRANSPOSED) else t for name, t in tensors.items()})

    def forward(self, windows: Tensor) -> Tensor:
        """Nats per character of ``[B, L + 1]``."""
        stream = self.embedding(windows[:, :-1]) + self.position.weight
        for layer in range(self.layers):
            stream = self.get_submodule(f"layer_{layer}")(stream)
        return cross_entropy(self.head(self.norm(stream)).mT, windows[:, 1:])


def _fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies values in; every parameter gets one."""
    parameters = dict(module.named_parameters())
    assert set(parameters) == set(tensors)
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
