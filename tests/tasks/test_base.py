from __future__ import annotations

import json

from rayl2o.tasks.base import TaskSpec


def test_a_spec_survives_json() -> None:
    spec = TaskSpec("mlp", {"data": "digits", "hidden": [20, 20], "init_std": 0.01}, seed=2**62 + 1)
    assert TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["settings"] is not spec.settings
