"""Inner steps per second of every estimator, the meta-gradient included, beside autograd through the same windows.

An inner step of ``es`` and ``pes`` is one particle's step with weights of its own; of the others one instance's step.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from rayl2o.benchmark.cosine import cosine, redrawn
from rayl2o.benchmark.row import Row, interleaved
from rayl2o.meta.estimators import perform
from rayl2o.meta.gradient import Gradient
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.perturbation import EvolutionConfig
from rayl2o.meta.training import Job, TrainConfig
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.gru import Gru
from rayl2o.rules.registry import make
from rayl2o.rules.small_mlp import SmallMlp
from rayl2o.seeds import generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

STEPS, AT_STEP, REPEATS = 20, 100, 5
FRACTIONS = (10, 2)
"""Percent of the coordinates that a learner sees, of rules that allow it."""
LARGE = 1000
"""Coordinates from which on it pays to sample."""
FEW, MANY = (1, 4), (64, 1024)
"""Instances side by side, of networks and of quadratics."""
PARTICLES = 4
DRAWS = 8


@dataclass(frozen=True)
class Stand:
    """A rule with fresh weights at an inner step of a trajectory of K instances."""

    label: str
    rule: Rule
    phi: Phi
    ticket: Ticket
    state: SlotState
    size: int


def estimator_rows() -> list[Row]:
    """(a) On MLP-orig, K = 1 and 4; (b) on 10-D quadratics, 64 and 1,024 of them. Weights are fresh, from a fixed seed."""
    data = "mnist" if os.environ.get("RAYL2O_DATA") else "digits"
    rows = []
    for kind in ("dm", "rnnprop", "mlp"):
        for k in FEW:
            stand = _stand(kind, make(kind, {}), task("mlp-orig", data=data), f"mlp-orig {data}", k)
            rows += _rows(stand, PARTICLES)
    small: dict[str, Rule] = {
        "gru-32": Gru(hidden=32),
        "mlp": SmallMlp(),
        "mlp (fixed decays)": SmallMlp(learn_decays=False),
    }
    for label, rule in small.items():
        for k in MANY:
            rows += _rows(_stand(label, rule, task("quadratic", size=10), "quadratic-10", k), 2)
    return rows


def _stand(kind: str, rule: Rule, family: TaskFamily, name: str, k: int) -> Stand:
    phi = rule.init_phi(generator("benchmark", kind))
    draws = generator("benchmark", "estimators")
    specs = tuple(family.sample(draws) for _ in range(k))
    ticket = Ticket("benchmark", 0, 0, 0, specs, 1000)
    config = UnrollConfig(steps=STEPS, history_bytes=2**31)
    state: SlotState | None = None
    for _ in range(AT_STEP // STEPS):
        _, state = rollout(rule, config, ticket, state, phi)
    assert state is not None
    return Stand(f"{kind}, {name}, K = {k}", rule, phi, ticket, state, state.params.shape[1])


def _rows(stand: Stand, particles: int) -> list[Row]:
    k = len(stand.ticket.specs)
    ways: dict[str, Callable[[], Phi]] = {}
    against: dict[str, str] = {}
    for credit in ("first_order", "exact"):
        config = UnrollConfig(steps=STEPS, credit=credit, history_bytes=2**31, graph_bytes=2**36)
        rival = f"autograd {credit.replace('_', ' ')}"
        ways[rival] = partial(_estimate, stand, TrainConfig(estimator="bptt", unroll=config))
        for percent in _fractions(stand):
            name = f"rtg {credit.replace('_', ' ')} {percent} %"
            ways[name] = partial(_estimate, stand, TrainConfig(unroll=_sampled(config, stand.size, percent)))
            against[name] = rival
    steps = dict.fromkeys(ways, STEPS * k)
    for name in ("es", "pes"):
        ways[name], side_by_side = _evolving(stand, name, particles)
        steps[name], against[name] = STEPS * side_by_side, "autograd first order"
    seconds = interleaved(ways, REPEATS)
    rates = {name: steps[name] / second for name, second in seconds.items()}
    rows = [
        Row(f"{stand.label}: {name}", rate, "inner steps/s", *_ratio(rates, name, against.get(name)))
        for name, rate in rates.items()
    ]
    return rows + _cosine_rows(stand, ways)


def _ratio(rates: dict[str, float], name: str, rival: str | None) -> tuple[float | None, str | None]:
    return (None, None) if rival is None else (rates[name] / rates[rival], rival)


def _fractions(stand: Stand) -> tuple[int, ...]:
    return (100, *FRACTIONS) if stand.rule.coordinatewise and stand.size > LARGE else (100,)


def _sampled(config: UnrollConfig, size: int, percent: int) -> UnrollConfig:
    if percent == 100:
        return config
    return replace(config, sampling="importance", coords_per_row=size * percent // 100)


def _estimate(stand: Stand, config: TrainConfig) -> Phi:
    """One meta-gradient: all that a round costs but the update of phi."""
    contribution, _ = perform(stand.rule, config, stand.phi, Job(stand.ticket, stand.state, 0))
    if isinstance(contribution, Gradient):
        return contribution.grads
    return meta_gradient(stand.rule, stand.phi, [contribution])[0]


def _evolving(stand: Stand, name: str, particles: int) -> tuple[Callable[[], Phi], int]:
    """An evolution strategy in its second window (``pes`` carries its particles from the first), and its rows side by side.

    With a pair of particles half of the instances give as many rows as the other estimators have.
    """
    specs = stand.ticket.specs if particles > 2 else stand.ticket.specs[::2]
    ticket = replace(stand.ticket, specs=specs)
    config = TrainConfig(
        estimator=name,
        unroll=UnrollConfig(steps=STEPS, history_bytes=2**31),
        evolution=EvolutionConfig(particles=particles),
    )
    _, state = perform(stand.rule, config, stand.phi, Job(ticket, None, 0))
    moved = replace(stand, ticket=ticket, state=state)
    return partial(_estimate, moved, config), len(specs) * particles


def _cosine_rows(stand: Stand, ways: dict[str, Callable[[], Phi]]) -> list[Row]:
    """Cosine of a sampled gradient to the whole one of its order, median over draws of the coordinates in one window."""
    found = []
    for credit in ("first_order", "exact") if len(_fractions(stand)) > 1 else ():
        config = UnrollConfig(steps=STEPS, credit=credit, history_bytes=2**31)
        full, _ = rollout(stand.rule, config, stand.ticket, stand.state, stand.phi)
        rival = f"autograd {credit.replace('_', ' ')}"
        whole = ways[rival]()
        for percent in _fractions(stand)[1:]:
            count = stand.size * percent // 100
            values = [cosine(redrawn(stand.rule, stand.phi, full, count, draw), whole) for draw in range(DRAWS)]
            name = f"rtg {credit.replace('_', ' ')} {percent} %, cosine to {rival} at step {AT_STEP}"
            found.append(Row(f"{stand.label}: {name}", statistics.median(values), "cosine"))
    return found
