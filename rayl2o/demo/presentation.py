"""What a demo found, put into the words and numbers of the report."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from rayl2o import __version__
from rayl2o.config import RunConfig
from rayl2o.demo.front_points import front_points
from rayl2o.evaluate.comparison import Row
from rayl2o.evaluate.front_data import NetworkMarks
from rayl2o.evaluate.report_data import (
    Formula,
    Insight,
    Number,
    ReportData,
    Stage,
    baseline,
    panels,
)
from rayl2o.evaluate.runner import Run
from rayl2o.evaluate.tuning import Tuned
from rayl2o.run import TrainResult
from rayl2o.symbolic.distill import Distillation

LIBRARIES = ("torch", "numpy", "pyarrow", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Findings:
    """Everything that the stages of a demo returned."""

    config: RunConfig
    training: TrainResult
    distillation: Distillation
    tuned: tuple[Tuned, ...]
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    seconds: float


def report_data(
    found: Findings, tasks: Mapping[str, str], trained_on: str, network: str, horizon: int, command: str
) -> ReportData:
    """The report of a demo."""
    data = str(found.config.task.settings.get("data", "digits"))
    return ReportData(
        title=f"rayl2o demo on {data}",
        summary=_summary(found.rows, trained_on, network),
        reference=network,
        panels=panels(found.runs, tasks, [trained_on]),
        rows=found.rows,
        horizon=horizon,
        formula=_formula(found.distillation),
        stages=_stages(found, trained_on, network),
        front=front_points(found.distillation.front, found.distillation.selected),
        network=_network(found.distillation),
        mappings=found.distillation.pictures.curves,
        traces=found.distillation.pictures.traces,
        insights=_insights(found.distillation),
        insights_note="TPF (temporal perception field, S eq. 3): mean lag of the inputs, weighted by the size of their effect, "
        "over 20 lags. MC (mapping complexity): nodes of the simplest formula whose held-out R2 reaches a threshold; constants, "
        "operands (a moving average counts once) and operators count 1 each.",
        baselines=tuple(baseline(one) for one in found.tuned),
        numbers=_numbers(found),
        settings=_settings(found.config),
        seeds={
            "meta-training": str(found.config.seed),
            "tuning of rivals": ", ".join(str(s) for s in found.tuned[0].seeds),
            "scoring": f"{found.runs[0].seeds[0]} to {found.runs[0].seeds[-1]}",
        },
        versions={"rayl2o": __version__, "python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        limits=_limits(data),
        command=command,
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _summary(rows: tuple[Row, ...], trained_on: str, network: str) -> str:
    """Says who won on the trained task, win or lose."""
    own = {row.rule: row for row in rows if row.task == trained_on}
    best = next(row for row in own.values() if row.best_classic)
    words = {"worse": "beats", "better": "loses to", "undecided": "is level with"}[best.verdict]
    formulas = [row for row in own.values() if row.kind == "formula"]
    better = min([*formulas, best], key=lambda row: row.mean_loss)
    place = "is ahead of" if better.kind == "formula" else "is behind"
    return (
        f"On {trained_on} the learned rule ({own[network].mean_loss:.4f}) {words} the best tuned classic rule, {best.rule} "
        f"({best.mean_loss:.4f}), in mean loss over the horizon. The best formula {place} that classic rule "
        f"({min(row.mean_loss for row in formulas):.4f})."
    )


def _formula(found: Distillation) -> Formula:
    shipped = found.tuned or found.gained or found.distilled
    rule = shipped.rule
    usage = (
        "from rayl2o.optim import SymbolicOptimizer\n\n"
        f'optimizer = SymbolicOptimizer.from_pretrained("formula-{rule.name}.json", model.parameters())'
    )
    note = (
        f"{rule.expression.complexity} nodes, {rule.buffers} floats of state per parameter; "
        f"the step is clamped at {rule.clamp:.3g}, then multiplied by {rule.gain:.3g}"
    )
    right_hand_side = rule.latex().partition(" = ")[2]
    return Formula(rule.formula, right_hand_side, note, usage)


def _stages(found: Findings, trained_on: str, network: str) -> tuple[Stage, ...]:
    d = found.distillation
    own = {row.rule: row for row in found.rows if row.task == trained_on}
    known = [
        (network, None, "as trained"),
        ("formula (distilled)", d.distilled, "fitted to the network's updates, nothing else"),
        ("formula (one gain)", d.gained, "times one number found by line search: the control for fine-tuning"),
        ("formula (tuned)", d.tuned, "all coefficients by meta-gradient; no longer a distillation"),
    ]
    return tuple(
        Stage(
            name,
            None if variant is None else variant.r2,
            own[name].mean_loss,
            own[name].low,
            own[name].high,
            note,
        )
        for name, variant, note in known
        if name in own
    )


def _network(found: Distillation) -> NetworkMarks:
    """Where the network stands on the figures of the front; its TPF by the inputs that a formula may read too."""
    m = found.measures
    return NetworkMarks(found.network.mean_loss, found.network.per_run, m.network_signal_tpf or {"g": m.network_tpf})


def _insights(found: Distillation) -> tuple[Insight, ...]:
    m = found.measures
    signals = ", ".join(f"{name} {value:.1f}" for name, value in m.signal_tpf.items())
    reached = "not reached" if m.mc is None else f"{m.mc} nodes"
    return (
        Insight(
            "network", f"{m.network_tpf:.1f}", f"{reached} at R2 {m.mc_threshold:g}", "by sensitivity to past gradients"
        ),
        Insight(
            "formula (distilled)",
            f"{m.formula_tpf:.1f}" + (f" (by signal, eq. 3: {signals})" if signals else ""),
            f"{found.selected.complexity} nodes, its own size",
            "by sensitivity to past gradients",
        ),
    )


def _numbers(found: Findings) -> tuple[Number, ...]:
    d, stages = found.distillation, sum(found.distillation.seconds.values())
    return (
        Number("meta-training", found.training.inner_steps_per_s, "inner steps/s", "learning included, one core"),
        Number("updates of the learned rule", found.training.updates, "updates"),
        Number("distillation and fine-tuning", stages, "s", f"of which fit {d.seconds['fit']:.2f} s"),
        Number("spent on tuning the rivals", sum(t.inner_steps for t in found.tuned), "inner steps"),
        Number("everything", found.seconds, "s"),
    )


def _settings(config: RunConfig) -> dict[str, str]:
    return {
        "learned rule": f"{config.rule.kind} {config.rule.settings}",
        "credit": config.unroll.credit,
        "unroll": f"{config.unroll.steps} steps, {config.instances} instances x {config.slots} slot(s)",
        "coordinates per row": f"{config.unroll.coords_per_row} ({config.unroll.sampling})",
        "curriculum": f"{config.curriculum.kind}: {', '.join(str(n) for n in config.curriculum.n_train)} steps",
        "meta-optimizer": f"{config.learner.rtg.name}, lr {config.learner.rtg.lr:g}",
    }


def _limits(data: str) -> tuple[str, ...]:
    return (
        "All losses are training losses on minibatches: the question is how fast a rule optimizes, not how well it generalises.",
        f"One network size and one data set ({data}); nothing here says how the rules do on large networks.",
        "One meta-training seed; another gives another rule. Intervals are over initialisations and minibatches only.",
        "The classic rules are tuned separately on every task, the learned rule and the formula on none but the trained one.",
    )
