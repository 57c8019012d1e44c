from __future__ import annotations

import torch

from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.built import KEPT, built

CPU = torch.device("cpu")


def test_equal_specs_share_a_batch_and_others_do_not() -> None:
    family, other = task("quadratic"), task("quadratic", size=3)
    specs = [family.sample(generator("built", i)) for i in range(3)]
    first = built(specs, torch.float32, CPU)
    assert built(tuple(specs), torch.float32, CPU) is first
    assert built(specs[:2], torch.float32, CPU).k == 2
    assert built(specs, torch.float64, CPU).init_params([0, 1, 2]).dtype == torch.float64
    assert built([other.sample(generator("built"))], torch.float32, CPU).layout.size == 3
    for i in range(KEPT):
        built([other.sample(generator("more", i))], torch.float32, CPU)
    assert built(specs, torch.float32, CPU) is not first
