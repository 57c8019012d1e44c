"""The published weights load, and reproduce the reference curves that were made with an independent implementation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs
from rayl2o.rules.dm import DM
from rayl2o.rules.published import import_weights
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.registry import task

DATA = os.environ.get("RAYL2O_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="RAYL2O_DATA is not set: no published weights, no MNIST")

# Natural log of the mean minibatch loss of the last 20 steps, on MLP-orig with MNIST (README of the data).
CURVES = {
    "dm": {20: -0.02, 100: -1.58, 500: -2.12},
    "dm_cl_il": {20: 0.56, 100: -1.28, 500: -2.36},
    "rnnprop_cl_il": {20: 0.78, 100: -0.58, 500: -1.88},
}
SEEDS = (0, 1, 2)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The pinned setting of a run; with more, threads that share a core wait for each other at every small operation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _file(name: str) -> Path:
    assert DATA is not None
    return Path(DATA) / "l2o-checkpoints" / f"{name}.safetensors"


def _curve(name: str, steps: int) -> Tensor:
    """Minibatch losses ``[K, steps]`` at params[0..steps-1], all seeds side by side."""
    rule, phi = import_weights(_file(name))
    family = task("mlp-orig", data="mnist")
    batch = family.build([family.sample(generator("published", seed)) for seed in SEEDS])
    params = batch.init_params([derive_seed("published", "init", seed) for seed in SEEDS])
    state = rule.init_state(phi, batch.layout, len(SEEDS))
    losses = []
    with torch.no_grad():
        for t in range(steps):
            data = batch.draw_batch([derive_seed("published", "batch", seed, t) for seed in SEEDS])
            loss, grad = batch.loss_and_grad(params, data)
            delta, state = rule.update(phi, Inputs(grad=grad, step=torch.tensor(t)), state)
            params = params + delta
            losses.append(loss)
    return torch.stack(losses, dim=1)


@needs_data
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", CURVES)
def test_the_reference_curve_is_reproduced(name: str) -> None:
    curve = _curve(name, 500)
    for mark, expected in CURVES[name].items():
        log_loss = curve[:, mark - 20 : mark].mean(dim=1).log()
        assert float(log_loss.mean()) == pytest.approx(expected, abs=0.3), (name, mark, log_loss)


@needs_data
@pytest.mark.parametrize(
    ("name", "rule", "size"),
    [("dm", DM(preprocess_k=5.0), 5141), ("dm_cl_il", DM(preprocess_k=5.0), 5141), ("rnnprop_cl_il", RnnProp(), 6641)],
)
def test_the_kind_is_read_off_the_tensors(name: str, rule: DM | RnnProp, size: int) -> None:
    found, phi = import_weights(_file(name))
    assert found == rule
    assert sum(weight.numel() for weight in phi.values()) == size
    assert list(phi) == list(rule.network.shapes())
    raw = load_file(_file(name))
    assert all(torch.equal(phi[key], raw[key]) for key in raw)


@pytest.mark.parametrize("rule", [DM(preprocess_k=5.0), RnnProp(), RnnProp(projection=6, hidden=(7,))], ids=repr)
def test_any_size_in_the_layout_is_read(rule: DM | RnnProp, tmp_path: Path) -> None:
    phi = rule.init_phi(generator("published"))
    save_file(phi, tmp_path / "w.safetensors")
    found, read = import_weights(tmp_path / "w.safetensors")
    assert found == rule
    assert all(torch.equal(read[key], phi[key]) for key in phi)


Spoil = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda phi: phi.pop("linear.b"), r"lacks a tensor: got 'linear.b'"),
        (lambda phi: phi.pop("lstm_2.b_gates"), r"lacks a tensor: got 'lstm_2.b_gates'"),
        (lambda phi: phi.pop("input_projection.b"), r"lacks a tensor: got 'input_projection.b'"),
        (lambda phi: phi.update({"linear.w": torch.zeros(19, 1)}), r"'linear.w' .* wrong shape: got \(19, 1\)"),
        (lambda phi: phi.update({"lstm_1.b_gates": torch.zeros(())}), r"widths must be positive"),
        (lambda phi: phi.update({"lstm_1.w_gates": torch.zeros(40, 80, dtype=torch.int64)}), r"holds no floats"),
        (lambda phi: phi.update({"linear.b": torch.tensor([math.nan])}), r"'linear.b' .* is not finite"),
        (lambda phi: phi.update({"rnn.weight_ih_l0": torch.zeros(80, 20)}), r"unknown layout"),
        (lambda phi: [phi.pop(f"lstm_1.{kind}_gates") for kind in "wb"], r"unknown layout"),
        (lambda phi: phi.clear(), r"unknown layout"),
    ],
)
def test_a_wrong_file_is_named(spoil: Spoil, message: str, tmp_path: Path) -> None:
    phi = RnnProp().init_phi(generator("published"))
    spoil(phi)
    save_file(phi, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(DM().init_phi(generator("published")), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        import_weights(path)


@pytest.mark.parametrize("position", [0, 7, 8, 12])
def test_a_flipped_byte_in_the_header_is_refused(position: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(DM().init_phi(generator("published")), path)
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="not a whole safetensors file"):
        import_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the file .* check the path"):
        import_weights(tmp_path / "none.safetensors")
