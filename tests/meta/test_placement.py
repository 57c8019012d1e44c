from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.meta.placement import placed, usable
from rayl2o.meta.rounds import fresh_state, run_round
from rayl2o.meta.snapshot import dump, restore
from rayl2o.meta.training import TrainConfig, TrainState
from rayl2o.rules.registry import make
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig

CPU, META = torch.device("cpu"), torch.device("meta")
RULE, FAMILY = make("rnnprop-small", {}), task("quadratic")


def _state(device: str = "cpu", rounds: int = 1) -> tuple[TrainConfig, TrainState]:
    config = TrainConfig(unroll=UnrollConfig(steps=20, device=device, credit_horizon=20))
    state = fresh_state(RULE, FAMILY, config, "run")
    for _ in range(rounds):
        state, _ = run_round(RULE, FAMILY, config, state)
    return config, state


def test_every_tensor_of_a_training_moves_and_nothing_else() -> None:
    _, state = _state()
    assert placed(state, CPU) is state
    tensors, meta = dump(placed(state, META))
    assert {value.device for value in tensors.values()} == {META}
    here, here_meta = dump(state)
    assert meta == here_meta
    assert {name: value.shape for name, value in tensors.items()} == {name: value.shape for name, value in here.items()}


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no such GPU"):
        usable("cuda:9")
    with pytest.raises(UserError, match="cpu or cuda"):
        UnrollConfig(device="gpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_on_a_gpu_goes_on_from_its_snapshot() -> None:
    config, state = _state("cuda", rounds=3)
    assert {value.device.type for value in state.learner.phi.values()} == {"cuda"}
    tensors, meta = dump(state)
    again = placed(restore({name: value.cpu() for name, value in tensors.items()}, meta), usable("cuda"))
    for _ in range(2):
        (state, _), (again, _) = (run_round(RULE, FAMILY, config, one) for one in (state, again))
    for name, value in state.learner.phi.items():
        torch.testing.assert_close(value, again.learner.phi[name], rtol=0, atol=0)
