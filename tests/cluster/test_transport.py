"""Numbers survive the journey bit for bit, dtype for dtype, and in the same order in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rayl2o.cluster.transport import nbytes, pack, unpack
from rayl2o.config import load
from rayl2o.meta.rounds import fresh_state, perform, plan_round

TENSORS = {
    "plain": torch.arange(6.0).reshape(2, 3),
    "permuted": torch.randn(3, 4, 5).permute(2, 0, 1),
    "slice": torch.randn(4, 6)[:, 1:3],
    "expanded": torch.randn(1, 3).expand(4, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.zeros(2, 0, 3),
    "bool": torch.tensor([True, False]),
    "int8": torch.tensor([1, -1], dtype=torch.int8),
    "special": torch.tensor([float("nan"), float("inf"), -0.0]),
}


@pytest.mark.parametrize("name", list(TENSORS))
def test_a_tensor_comes_back_bit_for_bit(name: str) -> None:
    tensor = TENSORS[name]
    back = unpack(pack(tensor))
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert back.numpy().tobytes() == tensor.numpy().tobytes()


def test_the_order_in_memory_is_kept() -> None:
    back = unpack(pack(TENSORS["permuted"]))
    assert back.stride() == TENSORS["permuted"].stride()


def test_what_comes_out_is_its_own_and_writable() -> None:
    wire = pack(torch.ones(3))
    wire.array.setflags(write=False)  # as the object store hands it out
    back = unpack(wire)
    back += 1
    assert wire.array.tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_roll_out_goes_on_from_its_packed_state_as_from_its_own(dtype: str) -> None:
    config = load("quickstart", [f"unroll.dtype={dtype}", "unroll.steps=5", "behaviour.self_improving=true"])
    rule, family = config.make_rule(), config.make_family()
    _, (job,), phi = plan_round(family, config, fresh_state(rule, family, config, "run"))
    segment, state = perform(rule, config, phi, job)
    assert not any(isinstance(part, torch.Tensor) for part in _leaves(pack((segment, state))))
    back = unpack(pack(segment))
    assert all(torch.equal(a, b) for a, b in zip(_tensors(back), _tensors(segment), strict=True))
    again = [
        perform(rule, config, {n: unpack(pack(p)) for n, p in phi.items()}, replace(job, slot_state=start))
        for start in (state, unpack(pack(state)))
    ]
    for one, other in zip(*(_tensors(result) for result in again), strict=True):
        assert torch.equal(one, other)


def test_bytes_are_those_of_the_numbers() -> None:
    assert nbytes(pack({"a": torch.zeros(3), "b": (torch.zeros(2, dtype=torch.float64), [1, "x"])})) == 12 + 16


def _leaves(value: Any) -> list[Any]:
    if hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in _leaves(value) if isinstance(leaf, torch.Tensor)]
