"""A distillation made by hand: three members of two engines, one that diverged, one refused; with everything a file can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.guards import ASCENT, STRETCH, Reason
from rayl2o.symbolic.pictures import Pictures
from tests.symbolic.recorded import recorded

NEW = ("r2_test", "r2_stretched", "closed_loop_runs", "tpf", "stable")
"""Fields of a candidate that older files lack."""


def candidate(text: str, r2: float, **known: Any) -> Candidate:
    return Candidate(parse_expression(text), "linear", 0.01, r2 + 0.01, r2, r2, r2 - 0.1, {"w": r2, "b": r2}, **known)


def front() -> Front:
    """Members 0 to 3, then 4 is refused; 2 diverged, 3 was not run."""
    small = candidate(
        "-0.01*g_tilde", 0.7, r2_test=0.71, r2_stretched=0.6, closed_loop=0.25, closed_loop_runs=(0.2, 0.25, 0.3),
        tpf={"g_tilde": 0.0},
    )  # fmt: skip
    middle = candidate(
        "-0.01*ema(g_tilde, 0.9) - 0.02*m_tilde", 0.8, r2_test=0.85, r2_stretched=-40.0, closed_loop=0.125,
        closed_loop_runs=(0.1, 0.15), tpf={"g_tilde": 6.0, "m_tilde": 1.5},
    )  # fmt: skip
    lost = replace(
        candidate("-tanh(g)*exp(g_tilde)*square(m_tilde)", 0.9, closed_loop=9.0, diverged=2), engine="evolved"
    )
    large = replace(
        candidate("-g - g_tilde - m_tilde - q - t", 0.95, flagged=(Reason(STRETCH, "13 times max |y|"),)),
        engine="evolved",
    )
    bad = candidate("0.01*g", 0.5, refused=(Reason(ASCENT, "a constant gradient is ascended"),))
    return Front((small, middle, lost, large), (bad,))


def document(old: bool = False) -> dict[str, Any]:
    """As ``distill`` writes it; ``old``: as releases did that knew less."""
    found = front()
    score = {"mean_loss": 0.2, "per_run": [0.1, 0.3], "diverged": 0}
    trail = {"trail": [[1.0, 2.0, 2.1, 2.2], [10.0, 0.5, 0.6, 0.7], [40.0, 0.1, 0.2, 0.3]]}
    rule = found.candidates[1].rule(name="distilled")
    column = {"rule": rule.to_json(), "score": score, "held_out": {**score, **trail}, "r2": 0.85, "buffers": 3}
    made: dict[str, Any] = {
        "front": found.to_json(),
        "selected": found.candidates[1].to_json(),
        "network": score,
        "network_held_out": {**score, "mean_loss": 0.3, **trail},
        "distilled": column,
        "gained": {**column, "held_out": {**score, "diverged": 1}},
        "tuned": None,
        "measures": {"network_tpf": 5.0, "network_signal_tpf": {"m_tilde": 4.0}, "mc": 3, "mc_threshold": 0.8},
        "seconds": {"fit": 1.25},
        "pictures": Pictures.of(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule)).to_json(),
        "card": {"distilled_from": "runs/net", "task": "mlp", "horizon": 40, "seed": 3},
    }
    if old:
        for name in ("network_held_out", "pictures", "card"):
            del made[name]
        for part in ("distilled", "gained"):
            made[part] = {name: value for name, value in made[part].items() if name != "held_out"}
        for one in (*made["front"]["candidates"], *made["front"]["refused"], made["selected"]):
            for name in NEW:
                del one[name]
    return made
