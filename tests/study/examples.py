"""A study of a moment, and a document with made-up numbers, for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayl2o.study.definition import Study, parse, plain

TASK = {"name": "quadratic", "settings": {"size": 3}}


def toy_data(**changes: Any) -> dict[str, Any]:
    """Two rules x two credits x two meta-seeds on a quadratic, as plain data."""
    data: dict[str, Any] = {
        "question": "Toy?",
        "seeds": [0, 1],
        "base": {
            "updates": 3,
            "task": TASK,
            "unroll": {"steps": 2},
            "curriculum": {"kind": "none", "n_train": [6]},
        },
        "axes": {
            "rule": {
                "dm": {"rule": {"kind": "dm", "settings": {"hidden": [3]}}},
                "rp": {"rule": {"kind": "rnnprop-small"}},
            },
            "credit": {
                "first": {"unroll": {"credit": "first_order"}},
                "exact": {"unroll": {"credit": "exact"}},
            },
        },
        "reference": {"credit": "first"},
        "evaluations": [{"task": TASK, "steps": 5, "seeds": 2}],
    }
    return data | changes


def toy(**changes: Any) -> Study:
    """The same as a study."""
    return parse(toy_data(**changes))


def score(losses: Sequence[float], diverged: int = 0) -> dict[str, Any]:
    """What an evaluation brings, one loss per evaluation seed."""
    return {
        "mean_loss": list(losses),
        "log_loss": {"3": [0.0] * len(losses), "20": [-1.0] * len(losses)},
        "diverged": [k < diverged for k in range(len(losses))],
    }


def trained(arm: dict[str, str], seed: int, losses: Sequence[float], cosine: float | None = None) -> dict[str, Any]:
    """A training's record with snapshots of both clocks that are worth the same."""
    cosines = {} if cosine is None else {"first_order": {"0": [cosine, cosine]}}
    common = {"skipped": 0, "inner_steps": 10, "evaluations": {"quadratic": score(losses)}, "cosines": cosines}
    ends = [
        {"clock": "updates", "mark": 3, "last": True, "round": 3, "cpu_s": 1.5, **common},
        {"clock": "cpu_s", "mark": 2.0, "last": True, "round": 4, "cpu_s": 2.1, **common},
    ]
    name = "-".join(arm.values())
    header = {"job": f"{name}-{seed}", "kind": "training", "arm": name, "levels": arm, "seed": seed, "status": "ok"}
    credit = "exact" if arm["credit"] == "exact" else "first_order"
    return {**header, "credit": credit, "rule": "dm", "weights": 3, "snapshots": ends}


def document(jobs: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A document of a study with these records."""
    study = toy(**changes)
    return {
        "study": "toy",
        "question": study.question,
        "definition": plain(study),
        "sha256": "0123456789abcdef",
        "made_with": {},
        "failed": [job["job"] for job in jobs if job["status"] != "ok"],
        "jobs": list(jobs),
    }


DM, DM_EXACT = {"rule": "dm", "credit": "first"}, {"rule": "dm", "credit": "exact"}
ADAM = {"job": "baseline-adam-quadratic", "kind": "baseline", "rule": "adam", "evaluation": "quadratic", "status": "ok"}


def example() -> dict[str, Any]:
    """Exact credit is better by .5, 1 and .6 over three meta-seeds; seed 2 of both stays dead."""
    jobs = [
        *(trained(DM, seed, losses, 0.25) for seed, losses in enumerate(([1.0, 2.0], [1.0, 3.0], [4.0, 4.0]))),
        *(trained(DM_EXACT, seed, losses, 0.5) for seed, losses in enumerate(([0.5, 1.5], [0.5, 1.5], [3.0, 3.8]))),
        {**ADAM, "label": "adam:lr=0.1", "on_edge": [], "scores": score([3.0, 5.0], diverged=1)},
    ]
    return document(jobs, seeds=[0, 1, 2], alive_below=2.5, snapshots={"cpu_s": [2.0]})


DISTILLATION = {
    "engine": "linear",
    "task": TASK,
    "steps": 60,
    "rows": 400,
    "horizons": [5, 20],
    "errors": [0.05, 0.5],
    "nodes": [3, 60],
    "known": ["sgd:lr=0.03"],
}
"""A distillation of a moment."""


def distilled(tpf: float, nodes: int | None, r2: float) -> dict[str, Any]:
    """What is measured of a rule with one input and a formula of 3 nodes, and a better one of 9."""
    line = {
        "inputs": 1,
        "buffers": 2,
        "r2_val": r2,
        "r2_early": r2,
        "r2_late": None,
        "r2_stretched": r2,
        "stable": True,
    }
    front = [{**line, "nodes": 3, "r2_test": r2 - 0.1}, {**line, "nodes": 9, "r2_test": r2}]
    found = None if nodes is None else {"nodes": nodes, "inputs": 1, "r2_val": r2, "formula": "g"}
    search = {
        "cpu_s": 1.25,
        "front": front,
        "complexity": {"0.05": found, "0.5": {"nodes": 3, "inputs": 1, "r2_val": r2, "formula": "g"}},
        "best": {"3": {**front[0], "formula": "g"}, "60": {**front[1], "formula": "g + t"}},
        "sound": {"3": {**front[0], "formula": "g"}, "60": {**front[0], "formula": "g"}},
    }
    perception = {"5": {"g": 0.5}, "20": {"g": tpf}}
    return {"perception": perception, "method": "sensitivity", "searches": {"ema": search}}


def distilling_example() -> dict[str, Any]:
    """A known rule, and DM of two meta-seeds; the third failed."""
    sgd = {"job": "known-sgd-lr-0.03", "kind": "known", "rule": "sgd:lr=0.03", "status": "ok"}
    failed = {"job": "dm-first-2", "kind": "training", "status": "failed", "error": "gone"}
    jobs = [
        {**sgd, "distillation": distilled(0.0, 3, 1.0)},
        {**trained(DM, 0, [1.0, 2.0]), "distillation": distilled(4.0, 9, 0.96)},
        {**trained(DM, 1, [1.0, 3.0]), "distillation": distilled(6.0, None, 0.9)},
        {**failed, "arm": "dm-first", "levels": DM, "seed": 2},
    ]
    return document(jobs, seeds=[0, 1, 2], distillation=DISTILLATION)
