"""Character models by a small recurrent network, Elman's or gated recurrent units, K of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.tasks.initial import Start
from rayl2o.tasks.language.next_character import NextCharacter, Part, embed
from rayl2o.tasks.language.text import SYMBOLS
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_one_of

GATES: Mapping[str, int] = MappingProxyType({"rnn": 1, "gru": 3})
"""Cells, and how many times the hidden width their products are."""


@dataclass(frozen=True)
class CharRNN(NextCharacter):
    """Next-character model by one recurrent layer whose state starts from 0 at every window.

    ``rnn``: h' = tanh(x W + h U + b) (Elman 1990). ``gru``: Cho et al. 2014 as in ``torch.nn.GRU``, where the reset gate comes
    after the product: n = tanh(x W_n + b_n + r (h U_n + c)). Biases that would only add to another one are left out. Weights
    start from N(0, 1/fan_in), characters from N(0, 1), biases from 0.

    Attributes:
        cell: ``rnn`` or ``gru``.
        embedding: Width of a character's vector.
        hidden: Width of the state.
    """

    family: ClassVar[str] = "char-rnn"
    time_first: ClassVar[bool] = True

    cell: str = "gru"
    embedding: int = 16
    hidden: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("cell", self.cell, GATES)
        self._require_positive("embedding", "hidden")

    @property
    def plan(self) -> tuple[Part, ...]:
        """Embedding, cell (weights ``[in, out]``; gates side by side as r, z, n) and linear head."""
        e, h = self.embedding, self.hidden
        gates = h * GATES[self.cell]
        candidate = (Part("cell.candidate_bias", (h,), "bias", 1, Start()),) if self.cell == "gru" else ()
        return (
            Part("embedding.weight", (SYMBOLS, e), "weight", 0, Start(std=1.0)),
            Part("cell.input_weight", (e, gates), "weight", 1, Start(std=e**-0.5)),
            Part("cell.hidden_weight", (h, gates), "weight", 1, Start(std=h**-0.5)),
            Part("cell.bias", (gates,), "bias", 1, Start()),
            *candidate,
            Part("head.weight", (h, SYMBOLS), "weight", 2, Start(std=h**-0.5)),
            Part("head.bias", (SYMBOLS,), "bias", 2, Start()),
        )

    def logits(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Scores ``[K, L * B, V]``. What a character adds to the gates is computed once per character, not per place."""
        table = torch.baddbmm(
            tensors["cell.bias"].unsqueeze(1), tensors["embedding.weight"], tensors["cell.input_weight"]
        )
        added = embed(table, inputs.transpose(0, 1), axis=1).unbind(0)  # one contiguous tensor per place
        states = self._gru(tensors, added) if self.cell == "gru" else _elman(tensors, added)
        return torch.baddbmm(
            tensors["head.bias"].unsqueeze(1), torch.stack(states, 1).flatten(1, 2), tensors["head.weight"]
        )

    def _gru(self, tensors: Mapping[str, Tensor], added: tuple[Tensor, ...]) -> list[Tensor]:
        """The L states ``[K, B, h]``, from what the characters add to the gates, ``[K, B, 3h]`` each."""
        weight, candidate_bias = tensors["cell.hidden_weight"], tensors["cell.candidate_bias"].unsqueeze(1)
        sizes = [2 * self.hidden, self.hidden]
        state = added[0].new_zeros(*added[0].shape[:2], self.hidden)
        states = []
        for x in added:
            gate_x, candidate_x = torch.split(x, sizes, 2)
            gate_h, candidate_h = torch.split(torch.bmm(state, weight), sizes, 2)
            reset, update = (gate_x + gate_h).sigmoid().chunk(2, 2)
            candidate = torch.tanh(candidate_x + reset * (candidate_h + candidate_bias))
            state = torch.lerp(candidate, state, update)
            states.append(state)
        return states


def _elman(tensors: Mapping[str, Tensor], added: tuple[Tensor, ...]) -> list[Tensor]:
    """The L states ``[K, B, h]``; the first one has no state before it."""
    states = [added[0].tanh()]
    for x in added[1:]:
        states.append(torch.baddbmm(x, states[-1], tensors["cell.hidden_weight"]).tanh())
    return states


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "char-gru": NamedTask(
            "char-rnn",
            {"cell": "gru", "embedding": 32, "hidden": 256},
            "next-character model of 256 gated recurrent units",
            {"length": 100, "batch_size": 50},
        ),
        "char-gru-small": NamedTask(
            "char-rnn",
            {"cell": "gru", "embedding": 8, "hidden": 16},
            "next-character model of 16 gated recurrent units",
            {"length": 16, "batch_size": 16},
            twin_of="char-gru",
        ),
    }
)
