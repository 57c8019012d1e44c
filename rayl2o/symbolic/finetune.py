"""Coefficient fine-tuning of a formula by returns-to-go: episodes as long as deployment, best held-out iterate kept.

What comes out is no longer a distillation (its R2 against the network falls towards 0), and most of what it wins one scalar
gain wins too: it is reported beside the distilled rule and the gain control, never in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.optimizer import MetaOptimizerConfig, apply_gradient
from rayl2o.rules.base import Phi
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Operand
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import derive_seed, generator
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.selection import Score, score
from rayl2o.tasks.draw import sample_alike
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

Rollout = Callable[[SymbolicRule, UnrollConfig, Ticket, SlotState | None, Phi, int], tuple[Segment, SlotState]]


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of fine-tuning.

    Attributes:
        updates: Updates of the coefficients; 0 turns it off.
        check_every: Updates between two scores on the held-out runs.
        optimizer: Adam .03 on normalised coefficients and the logarithm of the gain.
        unroll: U = 20, all coordinates: a formula is cheap to differentiate. Exact credit: from the best gain on, no first-order
            iterate was better than the start on the one formula tried (published RNNprop on digits), exact ones were.
    """

    updates: int = 150
    check_every: int = 50
    optimizer: MetaOptimizerConfig = field(default_factory=lambda: MetaOptimizerConfig(lr=0.03))
    unroll: UnrollConfig = field(default_factory=lambda: UnrollConfig(credit="exact"))

    def __post_init__(self) -> None:
        if self.updates < 0 or self.check_every < 1:
            raise UserError(
                "fine-tuning needs updates >= 0 and check_every >= 1",
                value=(self.updates, self.check_every),
                mend="use 150 and 50",
            )


@dataclass(frozen=True)
class Tuned:
    """The best iterate.

    Attributes:
        rule: The formula with its new constants and gain.
        score: Its score on the held-out runs.
        update: After how many updates it stood; 0 is the start.
        history: (updates made, mean loss on the held-out runs) of every iterate looked at, the start first.
        skipped: Updates skipped because their gradient was not finite.
    """

    rule: SymbolicRule
    score: Score
    update: int
    history: tuple[tuple[int, float], ...]
    skipped: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            "rule": self.rule.to_json(),
            "score": self.score.to_json(),
            "update": self.update,
            "history": [list(point) for point in self.history],
            "skipped": self.skipped,
        }


def finetune(
    rule: SymbolicRule,
    runs: Runs,
    held_out: Runs,
    steps: int,
    config: FinetuneConfig | None = None,
    scales: Tensor | None = None,
    roll: Rollout = rollout,
) -> Tuned:
    """Tunes constants and gain; the start is itself a candidate, so the result is never behind it on the held-out runs.

    Args:
        rule: The formula; its gain must be positive.
        runs: Runs of role ``tune``, side by side in each episode; every episode draws tasks, starts and minibatches afresh.
        held_out: Runs of role ``select``, which choose the iterate.
        steps: The intended horizon: length of an episode and of a held-out run.
        config: Settings.
        scales: ``[n]``, what each constant is divided by before Adam sees it, so that one learning rate fits all;
            :func:`coefficient_scales` gives the recommended ones. Default: each by its own size, as signals have different
            units (their common rms where a constant is 0).
        roll: Makes one segment.

    Raises:
        UserError: If the gain is not positive or there is nothing to tune.
    """
    config = config or FinetuneConfig()
    if not (rule.gain > 0 and rule.expression.constants):
        raise UserError(
            "fine-tuning needs a positive gain and at least one constant",
            value=rule.formula,
            mend="select another formula",
        )
    start = rule.init_phi(torch.Generator(), dtype=config.unroll.torch_dtype)
    unit = _own_sizes(start["coefficients"]) if scales is None else scales.to(start["coefficients"].dtype)
    theta = {"coefficients": start["coefficients"] / unit, "log_gain": start["gain"].log()}
    ticket = _ticket(runs, steps, 0)
    now = _Progress(theta, {}, ticket, None, 0)
    best, kept, best_phi = score(rule, start, held_out, steps), 0, start
    history = [(0, best.mean_loss)]
    for update in range(1, config.updates + 1):
        now = _update(rule, runs, steps, config, unit, now, roll)
        if update % config.check_every and update != config.updates:
            continue
        phi = _phi(now.theta, unit)
        result = score(rule, phi, held_out, steps)
        history.append((update, result.mean_loss))
        if (result.diverged, result.mean_loss) < (best.diverged, best.mean_loss):
            best, kept, best_phi = result, update, phi
    tuned = rule.with_phi(best_phi) if kept else rule
    return Tuned(tuned, best, kept, tuple(history), now.skipped)


def coefficient_scales(expression: Expression, x_scale: Mapping[Operand, float]) -> Tensor | None:
    """Scales of a linear formula's constants: a constant over its scale is its share in units of the operands' spread.

    Args:
        expression: Anything but a plain sum of constant times operand gives None.
        x_scale: Standard deviation of each operand's signal (a table's ``x_scale``).

    Returns:
        float64 ``[n]``: rms over terms of (constant x spread), divided by the spread of each term.
    """
    if not expression.is_canonical_linear:
        return None
    spread = torch.tensor([x_scale[operand] for operand in expression.operands], dtype=torch.float64)
    share = torch.tensor(expression.constants, dtype=torch.float64) * spread
    return share.square().mean().sqrt() / spread


@dataclass(frozen=True)
class _Progress:
    """Where tuning stands: normalised numbers, the meta-optimizer's slots, and the episode."""

    theta: dict[str, Tensor]
    slots: dict[str, Tensor]
    ticket: Ticket
    slot_state: SlotState | None
    skipped: int


def _own_sizes(coefficients: Tensor) -> Tensor:
    size = coefficients.abs()
    common = size.square().mean().sqrt()
    return torch.where(size > 0, size, common if common > 0 else torch.ones(()))


def _phi(theta: Mapping[str, Tensor], unit: Tensor) -> Phi:
    return {"coefficients": theta["coefficients"] * unit, "gain": theta["log_gain"].exp()}


def _ticket(runs: Runs, steps: int, episode: int) -> Ticket:
    draws = generator(runs.seed, "symbolic", runs.role, "episode", episode)
    specs = sample_alike(runs.family, draws, runs.count)
    return Ticket("finetune", derive_seed(runs.seed, "symbolic", runs.role), 0, episode, specs, steps)


def _update(
    rule: SymbolicRule, runs: Runs, steps: int, config: FinetuneConfig, unit: Tensor, now: _Progress, roll: Rollout
) -> _Progress:
    """One segment and one update; the next episode begins where an episode is over."""
    ticket, slot_state = now.ticket, now.slot_state
    if slot_state is not None and slot_state.finished(ticket):
        ticket, slot_state = _ticket(runs, steps, ticket.ordinal + 1), None
    phi = _phi(now.theta, unit)
    segment, slot_state = roll(rule, config.unroll, ticket, slot_state, phi, 0)
    gradient, _ = meta_gradient(rule, phi, [segment])
    chained = {"coefficients": gradient["coefficients"] * unit, "log_gain": gradient["gain"] * phi["gain"]}
    if not all(bool(torch.isfinite(g).all()) for g in chained.values()):
        return replace(now, ticket=ticket, slot_state=slot_state, skipped=now.skipped + 1)
    theta, slots = apply_gradient(config.optimizer, now.theta, chained, now.slots)
    return _Progress(theta, slots, ticket, slot_state, now.skipped)
