"""A rule that needs whole tensors, params and loss, through roll-out, credit and learner: the gradient of the unroll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.losses import imitation_loss, rtg_loss
from rayl2o.meta.whole import wholes
from rayl2o.rules.base import Inputs, Phi, State, step_through, zero_state
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.trajectory.batch import from_batch, to_batch
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX, TEACHER
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

SMALL = task("mlp", data="digits", hidden=(3,), init_std=0.3)
LARGE = task("mlp", data="digits", hidden=(4,), init_std=0.3)


@dataclass(frozen=True)
class TensorBall:
    """A heavy ball per coordinate, divided by the size of its tensor's ball, faster at a high loss, pulled to 0."""

    kind: ClassVar[str] = "tensor-ball"
    needs: ClassVar[frozenset[str]] = frozenset({"layout", "params", "loss"})
    coordinatewise: ClassVar[bool] = False
    state_size: ClassVar[int] = 1

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Four scalars."""
        return {
            name: torch.tensor(v, dtype=dtype)
            for name, v in (("rate", 0.05), ("keep", 0.7), ("pull", 0.01), ("heat", 0.3))
        }

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """Zeros at all three levels."""
        state = zero_state(1, layout, k, dtype, device)
        return {
            **state,
            "tensor": state["coord"].new_zeros(k, layout.tensors, 1),
            "global": state["coord"].new_zeros(k, 1),
        }

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step."""
        assert inputs.layout is not None
        assert inputs.params is not None
        assert inputs.loss is not None
        ball = phi["keep"] * state["coord"][..., 0] + inputs.grad
        parts = torch.split(ball, list(inputs.layout.sizes), dim=-1)
        size = 0.5 * state["tensor"][..., 0] + torch.stack([part.square().mean(-1) for part in parts], dim=-1)
        heat = 0.9 * state["global"] + phi["heat"] * inputs.loss
        scale = torch.sqrt(size[:, inputs.layout.tensor_index()] + 1e-3)
        delta = -phi["rate"] * (1 + heat) * ball / scale - phi["pull"] * inputs.params / (1.0 + inputs.step)
        return delta, {"coord": ball[..., None], "tensor": size[..., None], "global": heat}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps."""
        return step_through(self, phi, inputs, state)


RULE = TensorBall()
PHI = RULE.init_phi(generator("phi"), torch.float64)
CONFIG = UnrollConfig(steps=5, dtype="float64")


def _ticket(k: int = 2, slot: int = 0, **settings: object) -> Ticket:
    family = SMALL if slot == 0 else LARGE
    specs = tuple(family.sample(generator(slot, i)) for i in range(k))
    return replace(Ticket("t", 0, slot, 0, specs, 100), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("credit", ["first_order", "exact"])
@pytest.mark.parametrize("mixed", [False, True])
def test_returns_to_go_equal_backpropagation(credit: str, mixed: bool) -> None:
    ticket = _ticket(behaviour=MIX, teachers=("adamw:lr=0.05",), teacher_share=0.4) if mixed else _ticket()
    config = replace(CONFIG, credit=credit)
    state: SlotState | None = None
    for _ in range(2):
        segment, end = rollout(RULE, config, ticket, state, PHI)
        found, _ = meta_gradient(RULE, PHI, [segment])
        expected, _ = bptt(RULE, config, ticket, state, PHI, second_order=credit == "exact")
        for name in PHI:
            assert float(expected[name].abs()) > 1e-6
            torch.testing.assert_close(found[name], expected[name], rtol=1e-8, atol=1e-12)
        state = end


def test_segments_of_two_layouts_and_starts_add_up() -> None:
    _, later = rollout(RULE, CONFIG, _ticket(), None, PHI)
    segments = [
        rollout(RULE, CONFIG, _ticket(), later, PHI)[0],
        rollout(RULE, CONFIG, _ticket(k=1, slot=1), None, PHI)[0],
        rollout(RULE, CONFIG, _ticket(ordinal=1), None, PHI)[0],
    ]
    assert [(whole.layout.size, whole.grad.shape[1]) for whole in wholes(segments)] == [(235, 4), (310, 1)]
    together, _ = meta_gradient(RULE, PHI, segments)
    alone = [(s.k, meta_gradient(RULE, PHI, [s])[0]) for s in segments]
    for name in PHI:
        expected = sum(k * grads[name] for k, grads in alone) / 5
        torch.testing.assert_close(together[name], expected)


def test_a_teacher_is_imitated() -> None:
    ticket = _ticket(behaviour=TEACHER, teachers=("sgd:lr=0.1",))
    segment, _ = rollout(RULE, CONFIG, ticket, None, PHI)
    assert float(rtg_loss(RULE, PHI, [segment])) == 0.0
    (whole,) = wholes([segment])
    miss = whole.deltas(RULE, PHI) - whole.delta
    expected = 0.5 * miss.square().mean(-1).sum(0).mean()
    torch.testing.assert_close(imitation_loss(RULE, PHI, [segment]), expected)


def test_a_diverged_instance_is_told_its_last_sound_loss() -> None:
    ticket = _ticket(behaviour=MIX, teachers=("sgd:lr=1e30",), teacher_share=0.2)
    segment, _ = rollout(RULE, CONFIG, ticket, None, PHI)
    assert "diverged" in segment.status
    grads, _ = meta_gradient(RULE, PHI, [segment])
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())


def test_it_crosses_as_arrow() -> None:
    phi = {name: value.float() for name, value in PHI.items()}
    segment, _ = rollout(RULE, UnrollConfig(steps=5), _ticket(), None, phi)
    there = from_batch(to_batch(segment))
    for name, value in meta_gradient(RULE, phi, [segment])[0].items():
        assert torch.equal(value, meta_gradient(RULE, phi, [there])[0][name])


def test_its_coordinates_are_never_sampled() -> None:
    with pytest.raises(UserError, match="whole tensors"):
        rollout(RULE, replace(CONFIG, sampling="uniform", coords_per_row=9), _ticket(), None, PHI)
    segment, _ = rollout(RULE, CONFIG, _ticket(), None, PHI)
    with pytest.raises(ValueError, match="whole tensors"):
        wholes([replace(segment, coords=segment.coords[:, :9])])


def test_a_closed_loop_passes_all_that_it_needs() -> None:
    batch = SMALL.build(_ticket().specs, dtype=torch.float64)
    curves = closed_loop(RULE, PHI, batch, [0, 1], lambda t: [t, t], 30)
    assert bool((curves.loss[:, -5:].mean(1) < curves.loss[:, 0]).all())
