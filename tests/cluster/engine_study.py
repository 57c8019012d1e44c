"""A small study of an engine for tests: an untrained rule on a tiny task, a hasty preset as what is tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rayl2o.cluster.study_config import parse
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.rules.files import save_rule
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.preset import EnginePreset, dump_preset

SMALL: dict[str, Any] = {
    "kind": "symbolic",
    "task": "quadratic",
    "task_settings": {"size": 4},
    "fixed": {"nodes": 20},
    "space": {
        "engine.population": {"int": [5, 20]},
        "operands.betas": {"choice": [[0.5, 0.9], [0.8]]},
    },
    "generations": 3,
    "cpu_s": 30.0,
    "rows": 200,
    "runs": 2,
    "tuning_fits": [1, 2],
    "scoring_fits": [100, 101],
    "horizon": 40,
    "draws": 3,
    "tuning_seeds": [1, 2],
    "scoring_seeds": [100, 101, 102],
}


def rule_file(folder: Path) -> Path:
    """A rule file of an untrained RNNprop."""
    rule = make("rnnprop-small", {"output_scale": 0.1})
    return save_rule(folder / "untrained", rule, rule.init_phi(generator(0, "test", "rule")), {})


def published(path: Path) -> Path:
    """Weights in the layout of the published files: an untrained DM of two layers of 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rule = make("dm", {"preprocess_k": 5.0, "hidden": [2, 2]})
    phi = rule.init_phi(generator(4, "test", "rule"))
    save_file({name: weight.to(torch.float32).contiguous() for name, weight in phi.items()}, path)
    return path


def preset_file(folder: Path) -> Path:
    """A preset of the default engine that searches for no time at all."""
    file = folder / "hasty.yaml"
    settings = {"islands": 1, "population": 4, "generations": 1, "polish": 0, "quotient": False}
    file.write_text(dump_preset(EnginePreset("evolved", settings, Budget(30.0, 20)), "hasty"))
    return file


def small(folder: Path, **changes: Any) -> SymbolicStudy:
    """The study of :data:`SMALL` with a rule and a preset of its own."""
    own = {"rule": str(rule_file(folder)), "engine": str(preset_file(folder))}
    study = parse({**SMALL, **own, **changes}, "here")
    assert isinstance(study, SymbolicStudy)
    return study
