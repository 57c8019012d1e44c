"""The dynamics, against the tasks and rules that they are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rayl2o.envs.episodes import Episodes, Start, concrete_family
from rayl2o.envs.settings import EnvSettings
from rayl2o.errors import UserError
from rayl2o.rules.classic import Sgd
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import TaskFamily, TaskSpec
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.registry import build, task
from rayl2o.unroll.closed_loop import closed_loop

SMALL = task("mlp", hidden=(4,), batch_size=16, init_std=0.3)
STARTS = [Start(11, 1), Start(12, 2), Start(13, 3)]
ALL = torch.ones(3, dtype=torch.bool)


def begun(family: TaskFamily, settings: EnvSettings, starts: Sequence[Start] = tuple(STARTS)) -> Episodes:
    episodes = Episodes(family, settings, len(starts))
    episodes.begin(range(len(starts)), starts)
    return episodes


def specs(family: TaskFamily) -> list[TaskSpec]:
    return [family.sample(generator("env task", start.task_seed)) for start in STARTS]


@pytest.mark.parametrize("family", [Quadratic(), SMALL])
def test_a_constant_step_size_is_gradient_descent(family: TaskFamily) -> None:
    """Same tasks, initialisations and minibatches as the closed loop of SGD."""
    settings = EnvSettings(action="log_step", log10_steps=(-2.0, 0.0))
    episodes = begun(family, settings)
    losses = [episodes.loss]
    for _ in range(8):
        episodes.move(torch.zeros(3, 1), ALL)
        losses.append(episodes.loss)
    curves = closed_loop(
        Sgd(0.1),
        {},
        build(specs(family)),
        [derive_seed("env init", start.seed) for start in STARTS],
        lambda step: [derive_seed("env batch", start.seed, step) for start in STARTS],
        9,
    )
    torch.testing.assert_close(torch.stack(losses, dim=1), curves.loss, rtol=1e-5, atol=1e-6)
    assert episodes.step.tolist() == [8, 8, 8]
    assert [json.loads(text) for text in episodes.specs] == [spec.to_json() for spec in specs(family)]


def test_the_reward_compares_both_points_on_the_minibatch_that_the_action_has_not_seen() -> None:
    episodes, tasks = begun(SMALL, EnvSettings(action="log_step", log10_steps=(-2.0, 0.0))), build(specs(SMALL))
    params = tasks.init_params([derive_seed("env init", start.seed) for start in STARTS])
    for t in range(4):
        batch, fresh = (
            tasks.draw_batch([derive_seed("env batch", start.seed, step) for start in STARTS]) for step in (t, t + 1)
        )
        moved = params - 0.1 * tasks.loss_and_grad(params, batch)[1]
        expected = tasks.loss(params, fresh).log() - tasks.loss(moved, fresh).log()
        torch.testing.assert_close(episodes.move(torch.zeros(3, 1), ALL).float(), expected, rtol=1e-4, atol=1e-6)
        params = moved


def test_rewards_without_data_sum_to_the_whole_decrease() -> None:
    episodes = begun(Quadratic(), EnvSettings(action="log_step", log10_steps=(-2.0, 0.0)))
    first = episodes.loss
    total = torch.stack([episodes.move(torch.zeros(3, 1), ALL) for _ in range(30)]).sum(0).float()
    torch.testing.assert_close(total, first.log() - episodes.loss.log(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_divergence_counts_as_a_loss_at_the_cap(scale: float) -> None:
    """Whether the loss is large or not a number: the return of the episode is ln first - ln cap, and no more."""
    episodes = begun(Quadratic(log10_smallest=0.0), EnvSettings(update_scale=scale, loss_cap=100.0))
    first = episodes.loss
    total = episodes.move(torch.zeros(3, 5), ALL)
    total = total + episodes.move(torch.tensor([[1.0], [0.0], [-1.0]]).expand(3, 5), ALL)
    assert episodes.diverged.tolist() == [True, False, True]
    cap = (10 * first).clamp_min(100.0)
    torch.testing.assert_close(total[[0, 2]].float(), (first.log() - cap.log())[[0, 2]])
    assert total[1] == 0
    assert torch.isfinite(episodes.observation).all()


def test_a_task_that_starts_above_the_cap_is_not_born_diverged() -> None:
    episodes = begun(Quadratic(log10_smallest=0.0), EnvSettings(loss_cap=1e-3, action="log_step"))
    assert (episodes.loss > 1e-3).all()
    episodes.move(-torch.ones(3, 1), ALL)
    assert not episodes.diverged.any()


def test_the_reward_is_bounded_where_a_step_reaches_the_optimum() -> None:
    settings = EnvSettings(action="log_step", log10_steps=(-1.0, 0.0), linear_below=1e-2)
    episodes = begun(Quadratic(log10_smallest=0.0), settings)  # whose Hessian is the identity
    first = episodes.loss
    total = episodes.move(torch.ones(3, 1), ALL)
    torch.testing.assert_close(total.float(), first.log() - math.log(1e-2), rtol=1e-3, atol=1e-3)
    assert episodes.move(torch.ones(3, 1), ALL).abs().max() < 1e-6


def test_instances_that_do_not_move_stay_as_they_are() -> None:
    episodes, alone = begun(SMALL, EnvSettings(features=("g", "ema(g, 0.5)", "gain"))), begun(SMALL, EnvSettings())
    seen, loss = episodes.observation.clone(), episodes.loss.clone()
    action = torch.rand(3, episodes.moves.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = torch.tensor([True, False, True])
    reward = episodes.move(action, rows)
    assert reward[1] == 0
    assert torch.equal(episodes.observation[1], seen[1])
    assert episodes.loss[1] == loss[1]
    assert episodes.step.tolist() == [1, 0, 1]
    alone.move(action, ALL)
    torch.testing.assert_close(episodes.loss[[0, 2]], alone.loss[[0, 2]])


def test_a_new_episode_begins_in_some_rows_only() -> None:
    settings = EnvSettings(action="log_step", features=("g", "ema(g, 0.5)", "cosine", "log_loss"))
    episodes, untouched = begun(SMALL, settings), begun(SMALL, settings)
    for some in (episodes, untouched):
        some.move(torch.zeros(3, 1), ALL)
    episodes.begin([1], [Start(99, 7)])
    alone = begun(SMALL, settings, [Start(99, 7)])
    for _ in range(2):
        assert torch.equal(episodes.observation[[0, 2]], untouched.observation[[0, 2]])
        torch.testing.assert_close(episodes.observation[1], alone.observation[0])
        torch.testing.assert_close(episodes.loss[1], alone.loss[0])
        assert episodes.step[1] == alone.step[0]
        for some in (episodes, untouched, alone):
            some.move(torch.zeros(some.k, 1), torch.ones(some.k, dtype=torch.bool))


def test_sampled_coordinates_are_the_episode_s_own() -> None:
    episodes = begun(SMALL, EnvSettings(coords=6, features=("g",)))
    tasks = build(specs(SMALL))
    params = tasks.init_params([derive_seed("env init", start.seed) for start in STARTS])
    _, grad = tasks.loss_and_grad(params, tasks.draw_batch([derive_seed("env batch", s.seed, 0) for s in STARTS]))
    chosen: list[Tensor] = []
    for k, start in enumerate(STARTS):
        order = torch.randperm(grad.shape[1], generator=generator("env coords", start.seed))
        chosen.append(order[:6].sort().values)
        torch.testing.assert_close(episodes.observation[k, :, 0], grad[k, chosen[-1]])
    assert not torch.equal(chosen[0], chosen[1])


def test_a_first_loss_that_is_not_finite_is_the_user_s_mistake() -> None:
    with pytest.raises(UserError, match="not finite at its first step"):
        begun(MLP(init_std=1e38, batch_size=4), EnvSettings())


@dataclass(frozen=True)
class Sizes:
    """Quadratics of 2 to 9 coordinates."""

    family: ClassVar[str] = "sizes"

    def sample(self, rng: torch.Generator) -> TaskSpec:
        return Quadratic(int(torch.randint(2, 10, (), generator=rng))).sample(rng)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> QuadraticBatch:
        raise AssertionError("its specs are of another family")


@dataclass(frozen=True)
class Unregistered:
    """A round bowl that no registry knows, and that does not say its layout."""

    family: ClassVar[str] = "unregistered"

    def sample(self, rng: torch.Generator) -> TaskSpec:
        return TaskSpec(self.family)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> QuadraticBatch:
        inner = Quadratic(3, 0.0, 0.0)
        return inner.build([inner.sample(torch.Generator()) for _ in specs], device, dtype)


def test_a_family_that_draws_layouts_is_one_of_them() -> None:
    sizes = {seed: concrete_family(Sizes(), {}, seed) for seed in range(8)}
    assert all(isinstance(family, Quadratic) for family in sizes.values())
    assert len(set(sizes.values())) > 2
    assert sizes[3] == concrete_family(Sizes(), {}, 3)
    episodes = begun(sizes[0], EnvSettings())
    assert len(set(episodes.specs)) == 3


def test_a_family_that_is_not_registered_builds_its_own_specs() -> None:
    family = concrete_family(Unregistered(), {}, 0)
    assert family == Unregistered()
    assert begun(family, EnvSettings()).observation.shape == (3, 3, 6)


def test_settings_of_a_task() -> None:
    assert concrete_family("quadratic", {"size": 7}, 0) == Quadratic(7)
    with pytest.raises(UserError, match="unknown setting of task 'quadratic'"):
        concrete_family("quadratic", {"sise": 7}, 0)
    with pytest.raises(UserError, match="unknown task: got 'quadratc'; did you mean 'quadratic'"):
        concrete_family("quadratc", {}, 0)
    with pytest.raises(UserError, match="a task family has its settings already"):
        concrete_family(Quadratic(), {"size": 7}, 0)
