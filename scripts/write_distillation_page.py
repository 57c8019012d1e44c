"""Writes the tables of docs/what-was-learned.md and their figures from the committed result of the study ``distillation``.

``python scripts/write_distillation_page.py``; the result is ``benchmarks/results/study-distillation.json``, as ``rayl2o study
distillation`` wrote it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayl2o.rules.classic import Momentum, Sgd
from rayl2o.rules.registry import parse_rule
from rayl2o.study.figures import save_figures
from rayl2o.study.measured import measured
from rayl2o.study.measured_figure import save_measured_figure
from rayl2o.study.measured_tables import MC, R2, TPF, Beside
from rayl2o.study.page import with_studies
from rayl2o.study.records import read
from rayl2o.symbolic.complexity import lags_until_forgotten
from rayl2o.symbolic.perception import momentum_tpf

ROOT = Path(__file__).parents[1]
NAME = "distillation"
PAGE, RESULT, IMAGES = (
    ROOT / part for part in ("docs/what-was-learned.md", f"benchmarks/results/study-{NAME}.json", "docs/images")
)

PAPER_TPF = {
    "dm": "25.2",
    "dm-cl-il": "27.4",
    "rnnprop": "5.3, 2.4",
    "rnnprop-cl-il": "5.7, 3.1",
    "rp-small": "5.5, 2.2",
    "rp-small-extra": "4.6, 2.0, 4.1",
}
"""Table 3 of S, means over its three problems; RNNprop at m~, g~ (n~)."""
PAPER_MC = {
    "dm": "182.9",
    "dm-cl-il": "220.6",
    "rnnprop": "104.7",
    "rnnprop-cl-il": "121.4",
    "rp-small": "80.3",
    "rp-small-extra": "67.0",
}
"""Table 3 of S; its threshold and the way it counts are not stated."""
PAPER_R2 = {
    "momentum:lr=0.4,momentum=0.5": ".83/.85",
    "adam:lr=0.01,beta1=0.9,beta2=0.9": ".25/.31",
    "dm": ".46/.54",
    "rnnprop": ".93/.94",
    "rp-small-extra": ".94/.94",
}
"""Table 7 of S, problems P1/P2. ``RP(extra)`` there stands beside our RP(small, extra)."""
AT_M = "0 at m~"


def document() -> dict[str, Any] | None:
    """The committed study; None if there is none."""
    return read(RESULT)


def beside(found: dict[str, Any]) -> Beside:
    """What S says, and for known rules what follows from their formula, as columns."""
    known = [one.label for one in measured(found) if not one.levels]
    horizon = found["definition"]["distillation"]["horizons"][0]
    return {
        TPF: {
            "closed form": {label: _closed_tpf(label, horizon) for label in known},
            "S": PAPER_TPF | {label: _paper_tpf(label) for label in known},
        },
        MC: {"S": PAPER_MC | {label: _paper_mc(label) for label in known}},
        R2: {"S, P1/P2": PAPER_R2},
    }


def _closed_tpf(label: str, horizon: int) -> str:
    """Eq. 3 over the lags of the horizon, and without end."""
    rule = parse_rule(label)
    if isinstance(rule, Momentum):
        beta = float(rule.momentum)
        return f"{momentum_tpf(beta, horizon):.2f}; {momentum_tpf(beta, None):.0f} without end"
    return "0" if isinstance(rule, Sgd) else AT_M


def _paper_tpf(label: str) -> str:
    """Table 2 of S, its formula for momentum read as ``1 / (1 - beta)``."""
    rule = parse_rule(label)
    if isinstance(rule, Momentum):
        return f"{1.0 / (1.0 - float(rule.momentum)):.0f}"
    return "0" if isinstance(rule, Sgd) else AT_M


def _paper_mc(label: str) -> str:
    """Table 2 of S, which counts inputs."""
    rule = parse_rule(label)
    if isinstance(rule, Momentum):
        return f"≈ {lags_until_forgotten(float(rule.momentum))} inputs"
    return "1 input" if isinstance(rule, Sgd) else "1 input at m~"


def page(found: dict[str, Any]) -> str:
    """The whole page as it should be."""
    return with_studies(PAGE.read_text(encoding="utf-8"), {NAME: found}, beside={NAME: beside(found)})


def write_figures(found: dict[str, Any], folder: Path = IMAGES) -> None:
    """Its figures."""
    save_figures(found, folder, f"study-{NAME}")
    save_measured_figure(found, folder, f"study-{NAME}")


if __name__ == "__main__":
    committed = document()
    if committed is None:
        raise SystemExit(f"there is no {RESULT.name}: run rayl2o study {NAME}")
    PAGE.write_text(page(committed), encoding="utf-8")
    write_figures(committed)
