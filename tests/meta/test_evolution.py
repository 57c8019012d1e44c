"""``es`` and ``pes`` against exact algebra, quadrature and autograd (float64): what each is unbiased for, and what not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from rayl2o.checkpoint import digest
from rayl2o.cluster.transport import pack, unpack
from rayl2o.layout import Layout
from rayl2o.meta.bptt import bptt
from rayl2o.meta.curriculum import CurriculumState
from rayl2o.meta.evolution import NOISE, es, pes
from rayl2o.meta.gradient import Gradient
from rayl2o.meta.learner import fresh_learner
from rayl2o.meta.perturbation import EvolutionConfig, draw_noise
from rayl2o.meta.snapshot import dump, restore
from rayl2o.meta.training import Job, TrainState
from rayl2o.rules.base import Inputs, Phi, Rule, State, step_through
from rayl2o.rules.registry import make
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.registry import build, task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX, TEACHER
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket
from rayl2o.unroll.window import Cast, start

Estimator = Callable[[Rule, UnrollConfig, EvolutionConfig, Phi, Job], tuple[Gradient, SlotState]]
BOTH = pytest.mark.parametrize("estimator", [es, pes])
FAMILY = Quadratic(size=2, log10_smallest=-1.0)
WINDOW = UnrollConfig(steps=3, dtype="float64", step_weights=(1.0, 0.5, 2.0))


def _ticket(ordinal: int = 0, k: int = 2, n_train: int = 9) -> Ticket:
    return Ticket("t", 0, 0, ordinal, tuple(FAMILY.sample(generator(i)) for i in range(k)), n_train)


@dataclass(frozen=True)
class LearnedMomentum:
    """Heavy ball whose log step size, logit of the decay and initial buffer are learned."""

    kind: ClassVar[str] = "learned-momentum"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True
    state_size: ClassVar[int] = 1

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        values = {"rate": math.log(0.3), "decay": 0.5, "first": 0.2}
        return {name: torch.tensor(value, dtype=dtype) for name, value in values.items()}

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        return {"coord": phi["first"].expand(k, layout.size)[..., None]}

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        buffer = phi["decay"].sigmoid() * state["coord"][..., 0] + inputs.grad
        return -phi["rate"].exp() * buffer, {"coord": buffer[..., None]}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        return step_through(self, phi, inputs, state)


@dataclass(frozen=True)
class Ramp(LearnedMomentum):
    """Linear in phi and deaf to the gradient, so that the meta-loss on a quadratic is a quadratic of phi."""

    kind: ClassVar[str] = "ramp"

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        ramp = phi["rate"] + phi["decay"] * (inputs.step / 4) + state["coord"][..., 0]
        return ramp.expand_as(inputs.grad), state


MOMENTUM, RAMP = LearnedMomentum(), Ramp()
PHI = MOMENTUM.init_phi(generator("any"), torch.float64)


def _windows(
    estimator: Estimator, rule: Rule, evolution: EvolutionConfig, ticket: Ticket, config: UnrollConfig = WINDOW
) -> list[Gradient]:
    """The gradients of a whole trajectory with phi fixed."""
    state: SlotState | None = None
    gradients: list[Gradient] = []
    while state is None or not state.finished(ticket):
        gradient, state = estimator(rule, config, evolution, PHI, Job(ticket, state, 0))
        gradients.append(gradient)
    return gradients


def _flat(grads: Phi) -> Tensor:
    return torch.stack([grads[name] for name in sorted(grads)])


def _jacobian(rule: Rule, ticket: Ticket, windows: int) -> Tensor:
    """By autograd: ``[windows, windows, N]``, the gradient of window s's meta-loss in the weights that act in window tau."""
    weights = [{name: value.clone().requires_grad_() for name, value in PHI.items()} for _ in range(windows)]
    batch = build(ticket.specs, dtype=torch.float64)
    params = start(Cast.of(rule, PHI, ticket), WINDOW, ticket, batch).params
    state, rows, names = rule.init_state(weights[0], batch.layout, batch.k, torch.float64), [], sorted(PHI)
    leaves = [one[name] for one in weights for name in names]
    for s, phi in enumerate(weights):
        total = torch.zeros((), dtype=torch.float64)
        for t, weight in enumerate(WINDOW.weights()):
            if not params.requires_grad:
                params.requires_grad_()
            (grad,) = torch.autograd.grad(batch.loss(params, None).sum(), params, create_graph=True)
            delta, state = rule.update(phi, Inputs(grad, torch.tensor(3 * s + t)), state)
            params = params + delta
            total = total + weight * batch.loss(params, None).mean()
        grads = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        rows.append([torch.zeros(()).double() if one is None else one for one in grads])
    return torch.stack([torch.stack(row) for row in rows]).view(windows, windows, len(names))


def test_where_the_meta_loss_is_quadratic_both_are_exact_projections() -> None:
    """An expectation without an error bar: z z' has mean 1, and z z' of different windows mean 0."""
    evolution, ticket = EvolutionConfig(sigma=0.5, particles=6), _ticket(k=1)
    exact = _jacobian(RAMP, ticket, 3)
    noise = torch.stack([draw_noise(evolution, ticket, s, PHI) for s in range(3)])
    persistent, truncated = (_windows(one, RAMP, evolution, ticket) for one in (pes, es))
    for s in range(3):
        slopes = torch.stack([noise[tau] @ exact[s, tau] for tau in range(s + 1)]).sum(0)
        expected = (noise[: s + 1].sum(0) * slopes[:, None]).mean(0)
        torch.testing.assert_close(_flat(persistent[s].grads), expected, rtol=1e-9, atol=1e-9)
    # Truncated: the mean is only what the window's own weights did to it; the rest of the row is the bias.
    expected = (noise[0] * (noise[0] @ exact[0, 0])[:, None]).mean(0)
    torch.testing.assert_close(_flat(truncated[0].grads), expected, rtol=1e-9, atol=1e-9)
    for s in (1, 2):
        own = exact[s, s].clone()
        own[sorted(PHI).index("first")] = 0.0  # the rule state of a later window stands as it is
        expected = (noise[s] * (noise[s] @ own)[:, None]).mean(0)
        torch.testing.assert_close(_flat(truncated[s].grads), expected, rtol=1e-9, atol=1e-9)
        assert float((exact[s].sum(0) - own).norm()) > 0.5 * float(exact[s].sum(0).norm())


def test_the_first_window_is_the_same_for_both() -> None:
    evolution = EvolutionConfig(sigma=0.2, particles=4)
    one, other = (estimator(MOMENTUM, WINDOW, evolution, PHI, Job(_ticket(), None, 0))[0] for estimator in (es, pes))
    assert digest(one.grads) == digest(other.grads)
    assert replace(one, grads={}) == replace(other, grads={})


def test_a_full_unroll_estimates_the_gradient_of_the_smoothed_objective() -> None:
    sigma, config = 0.5, UnrollConfig(steps=5, dtype="float64", loss_cap=1e12)
    evolution, ticket = EvolutionConfig(sigma=sigma, particles=1024), _ticket(k=1, n_train=5)
    errors, curvature = [], []
    for slot in range(20):  # each from a start of its own
        own = replace(ticket, slot=slot)
        gradient, _ = es(MOMENTUM, config, evolution, PHI, Job(own, None, 0))
        smooth = _smoothed_gradient(config, own, sigma)
        errors.append(_flat(gradient.grads) - smooth)
        curvature.append(smooth - _flat(bptt(MOMENTUM, config, own, None, PHI, True)[0]))
    assert _off(torch.stack(errors)) < 4
    # Of the initial buffer bptt knows nothing: it takes the rule state before the window for a constant.
    plain = (torch.stack(errors) + torch.stack(curvature))[:, [0, 2]]
    assert _off(plain) > 8


def _off(errors: Tensor) -> float:
    """The largest mean over rows, in its standard errors."""
    return float((errors.mean(0).abs() / (errors.std(0) / len(errors) ** 0.5)).max())


def _smoothed_gradient(config: UnrollConfig, ticket: Ticket, sigma: float) -> Tensor:
    """Of E over z of L(phi + sigma z): z L / sigma by Gauss-Hermite quadrature, 14 nodes a weight, in a loop of its own."""
    nodes, mass = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(14))
    z = torch.cartesian_prod(nodes, nodes, nodes)
    p = torch.cartesian_prod(mass, mass, mass).prod(1) / mass.sum() ** 3
    phis = {name: PHI[name] + sigma * z[:, i : i + 1] for i, name in enumerate(sorted(PHI))}
    one = FAMILY.build(ticket.specs, dtype=torch.float64)
    batch = QuadraticBatch(one.layout, one.factor.expand(len(z), 2, 2), one.optimum.expand(len(z), 2))
    params = batch.init_params([derive_seed(0, "init", ticket.slot, ticket.ordinal, 0)] * len(z))
    buffer, total = phis["first"].expand_as(params), torch.zeros(len(z), dtype=torch.float64)
    for _ in range(config.steps):
        delta, state = MOMENTUM.update(
            phis, Inputs(batch.loss_and_grad(params, None)[1], torch.tensor(0)), {"coord": buffer[..., None]}
        )
        params, buffer = params + delta, state["coord"][..., 0]
        total += batch.loss_and_grad(params, None)[0]
    return (p * total) @ z / sigma


def test_pes_is_unbiased_under_truncation_where_truncated_es_is_not() -> None:
    evolution = EvolutionConfig(sigma=0.01, particles=32)
    errors: dict[str, list[Tensor]] = {"pes": [], "es": [], "es, its own aim": []}
    truths = []
    for ordinal in range(40):
        ticket = _ticket(ordinal, k=1)
        truths.append(_jacobian(MOMENTUM, ticket, 3).sum((0, 1)))
        persistent, truncated = (
            torch.stack([_flat(gradient.grads) for gradient in _windows(one, MOMENTUM, evolution, ticket)]).sum(0)
            for one in (pes, es)
        )
        errors["pes"].append(persistent - truths[-1])
        errors["es"].append(truncated - truths[-1])
        errors["es, its own aim"].append(truncated - _truncated_gradient(ticket))
    off = {name: _off(torch.stack(rows)) for name, rows in errors.items()}
    assert off["pes"] < 4
    assert off["es, its own aim"] < 4
    assert off["es"] > 6
    bias, truth = torch.stack(errors["es"]).mean(0), torch.stack(truths).mean(0)
    assert float(bias.norm()) > 0.25 * float(truth.norm())


def _truncated_gradient(ticket: Ticket) -> Tensor:
    """The sum over windows of what autograd finds within each."""
    state, total = None, torch.zeros(3, dtype=torch.float64)
    for _ in range(3):
        if state is None:  # bptt takes the initial rule state for a constant; here it is learned
            total = total + _jacobian(MOMENTUM, ticket, 1)[0, 0]
        else:
            total = total + _flat(bptt(MOMENTUM, WINDOW, ticket, state, PHI, True)[0])
        _, state = rollout(MOMENTUM, WINDOW, ticket, state, PHI)
    return total


LSTM = make("rnnprop-small", {"output_scale": 0.1})
MLP = task("mlp", data="digits", hidden=(3,), init_std=0.3)
SMALL = EvolutionConfig(sigma=0.1, particles=4)


def _lstm_job(behaviour: str = MIX) -> tuple[UnrollConfig, Phi, Job]:
    teachers = ("adam:lr=0.01",)
    ticket = Ticket("t", 7, 2, 1, tuple(MLP.sample(generator(k)) for k in range(2)), 12, behaviour, teachers, 0.3)
    return UnrollConfig(steps=4), LSTM.init_phi(generator("phi")), Job(ticket, None, 3)


@BOTH
def test_a_trajectory_cut_anywhere_goes_on_with_the_same_bytes(estimator: Estimator) -> None:
    config, phi, job = _lstm_job()
    whole: list[str] = []
    cut: list[str] = []
    for record, carry in ((whole, lambda state: state), (cut, lambda state: _through_file_and_wire(phi, job, state))):
        state: SlotState | None = None
        for _ in range(3):
            gradient, state = estimator(LSTM, config, SMALL, phi, replace(job, slot_state=state))
            record += [digest(gradient.grads), repr(replace(gradient, grads={}))]
            state = carry(state)
        assert state is not None
        assert state.finished(job.ticket)
        record.append(digest(_tensors(state)))
    assert cut == whole


def _through_file_and_wire(phi: Phi, job: Job, state: SlotState) -> SlotState:
    before = TrainState(fresh_learner(phi), CurriculumState(), phi, ((job.ticket, state),), {0: phi})
    tensors, meta = dump(before)
    written = {name: value.contiguous().clone() for name, value in tensors.items()}
    (_, again), *_ = restore(written, meta).slots
    sent = unpack(pack(again))
    assert isinstance(sent, SlotState)
    return sent


def _tensors(state: SlotState) -> dict[str, Tensor]:
    own = {name: getattr(state, name) for name in ("params", "grad", "loss", "alive")}
    heard = {f"{i}/{name}": value for i, old in enumerate(state.teacher_states) for name, value in old.items()}
    return {**own, **heard, **{f"rule/{name}": value for name, value in state.rule_state.items()}}


def test_the_slot_of_es_goes_on_as_if_a_segment_had_been_made() -> None:
    config, phi, job = _lstm_job()
    state: SlotState | None = None
    for _ in range(2):
        segment, expected = rollout(LSTM, config, job.ticket, state, phi, job.version)
        gradient, found = es(LSTM, config, SMALL, phi, replace(job, slot_state=state))
        assert gradient.source == segment.source
        assert digest(_tensors(found)) == digest(_tensors(expected))
        assert (found.step, found.segment) == (expected.step, expected.segment)
        state = found


def test_the_slot_of_pes_holds_every_particle_and_the_sum_of_its_noise() -> None:
    config, phi, job = _lstm_job()
    state: SlotState | None = None
    expected = torch.zeros(4, sum(value.numel() for value in phi.values()))
    for segment in range(3):
        source, _ = rollout(LSTM, config, job.ticket, None, phi, job.version)
        gradient, state = pes(LSTM, config, SMALL, phi, replace(job, slot_state=state))
        expected += draw_noise(SMALL, job.ticket, segment, phi)
        assert torch.equal(state.rule_state[NOISE], expected)
        assert gradient.source == replace(source.source, segment=segment, start_step=4 * segment)
    assert state is not None
    assert state.params.shape == (8, build(job.ticket.specs).layout.size)
    assert state.rule_state["coord"].shape == (*state.params.shape, LSTM.state_size)
    assert all(not torch.equal(state.params[i], state.params[i + 1]) for i in range(0, 8, 2))
    assert gradient.rows == 8
    assert gradient.tally.steps == 4 * 8


@BOTH
def test_a_mix_of_teachers_only_leaves_nothing_to_learn(estimator: Estimator) -> None:
    config, phi, job = _lstm_job()
    job = replace(job, ticket=replace(job.ticket, teacher_share=1.0))
    gradient, _ = estimator(LSTM, config, SMALL, phi, job)
    assert all(not bool(value.any()) for value in gradient.grads.values())
    assert gradient.objective > 0


@BOTH
def test_the_trajectory_of_a_teacher_is_refused(estimator: Estimator) -> None:
    config, phi, job = _lstm_job(TEACHER)
    with pytest.raises(ValueError, match="teacher"):
        estimator(LSTM, config, SMALL, phi, job)


@BOTH
def test_divergence_keeps_the_gradient_finite_and_points_away_from_it(estimator: Estimator) -> None:
    """Steps of 3 on curvatures of up to 1 explode, steps of 0.3 do not: the charge says which way is down."""
    phi = {**PHI, "rate": torch.tensor(math.log(3.0), dtype=torch.float64)}
    config, evolution = replace(WINDOW, loss_cap=50.0), EvolutionConfig(sigma=1.0, particles=64)
    state: SlotState | None = None
    for _ in range(3):
        gradient, state = estimator(MOMENTUM, config, evolution, phi, Job(_ticket(), state, 0))
        assert all(bool(torch.isfinite(value).all()) for value in gradient.grads.values())
        if gradient.source.segment == 0 or estimator is pes:
            assert float(gradient.grads["rate"]) > 0
            assert {"ok", "diverged"} == set(gradient.tally.status)
        if state.finished(_ticket()):
            break


@BOTH
def test_credit_and_sampling_are_ignored(estimator: Estimator) -> None:
    config, phi, job = _lstm_job()
    other = replace(config, credit="exact", sampling="importance", coords_per_row=5)
    (one, after), (two, same) = (estimator(LSTM, each, SMALL, phi, job) for each in (config, other))
    assert digest(one.grads) == digest(two.grads)
    assert digest(_tensors(after)) == digest(_tensors(same))


@BOTH
def test_chunks_change_nothing_but_rounding(estimator: Estimator) -> None:
    config, phi, job = _lstm_job()
    whole, _ = estimator(LSTM, config, SMALL, phi, job)
    parts, _ = estimator(LSTM, config, replace(SMALL, chunk=3), phi, job)
    for name, value in whole.grads.items():
        torch.testing.assert_close(parts.grads[name], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))
