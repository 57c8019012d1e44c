"""``torch.compile`` of a rule's update against the plain one, over the number of coordinates: where it pays."""

from __future__ import annotations

import time
from functools import partial

import torch
from torch import Tensor

from rayl2o.benchmark.row import Row, interleaved
from rayl2o.layout import Layout
from rayl2o.rules.base import Rule, State, seen_by
from rayl2o.rules.compiled import INDUCTOR, Update, compiled_update
from rayl2o.rules.gru import Gru
from rayl2o.rules.registry import make
from rayl2o.seeds import generator

SIZES = (100, 1_000, 10_000, 100_000)
BACKEND = INDUCTOR
REPEATS = 15


def compile_rows() -> list[Row]:
    """Milliseconds of one update of K = 1, and what the first call of a shape costs."""
    rules = {"dm": make("dm", {}), "rnnprop": make("rnnprop", {}), "rnnprop-small": make("rnnprop-small", {})}
    rules |= {"gru-32": Gru(hidden=32), "mlp": make("mlp", {})}
    return [row for label, rule in rules.items() for size in SIZES for row in _rows(label, rule, size)]


def _rows(label: str, rule: Rule, size: int) -> list[Row]:
    layout = Layout.flat(size)
    phi = rule.init_phi(generator("compile"))
    state = rule.init_state(phi, layout, 1)
    grad = torch.randn(1, size, generator=generator("grad"))

    def once(update: Update) -> tuple[Tensor, State]:
        with torch.no_grad():
            inputs = seen_by(rule, grad, torch.tensor(3.0), grad, torch.zeros(1), layout)
            return update(phi, inputs, state)

    compiled = compiled_update(rule, BACKEND)
    begun = time.perf_counter()
    once(compiled)
    first = time.perf_counter() - begun
    seconds = interleaved({"plain": partial(once, rule.update), "compiled": partial(once, compiled)}, REPEATS)
    name = f"{label}, {size:,} coordinates"
    return [
        Row(f"{name}: plain update", 1e3 * seconds["plain"], "ms"),
        Row(f"{name}: compiled", 1e3 * seconds["compiled"], "ms", seconds["plain"] / seconds["compiled"], "plain"),
        Row(f"{name}: first call", first, "s"),
    ]
