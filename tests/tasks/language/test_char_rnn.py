from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.language.char_rnn import NAMED, CharRNN
from rayl2o.tasks.language.text import load_text
from tests.tasks.language.character_networks import Recurrent

FAMILIES = [
    CharRNN(cell=cell, embedding=3, hidden=4, length=6, batch_size=5, split=split)
    for cell in ("rnn", "gru")
    for split in ("train", "test")
]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_torchs_own_network(family: CharRNN) -> None:
    tasks = family.build([family.sample(torch.Generator())] * 3, dtype=torch.float64)
    params = tasks.init_params([1, 2, 3]) + 0.1
    batch = tasks.draw_batch([4, 5, 6])
    loss, grad = tasks.loss_and_grad(params, batch)
    windows = load_text("unicode-names", family.split).windows(batch, family.length)
    for k in range(3):
        network = Recurrent(family, tasks.layout.unflatten(params[k]))
        expected = network(windows[k])
        torch.testing.assert_close(loss[k], expected.detach(), rtol=1e-12, atol=0)
        ours = tasks.layout.unflatten(grad[k])
        names, parameters = zip(*network.named_parameters(), strict=True)
        own = dict(zip(names, torch.autograd.grad(expected, parameters), strict=True))
        pairs = {
            "embedding.weight": own["embedding.weight"],
            "cell.input_weight": own["cell.weight_ih_l0"].mT,
            "cell.hidden_weight": own["cell.weight_hh_l0"].mT,
            "cell.bias": own["cell.bias_ih_l0"],
            "head.weight": own["head.weight"].mT,
            "head.bias": own["head.bias"],
        }
        if family.cell == "gru":
            pairs["cell.candidate_bias"] = own["cell.bias_hh_l0"][2 * family.hidden :]
        assert set(pairs) == set(ours)
        for name, value in pairs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-14)


def test_layout_and_start() -> None:
    family = CharRNN(cell="gru", embedding=10, hidden=20)
    layout = family.layout
    assert layout.names[0] == "embedding.weight"
    assert layout.shapes == ((97, 10), (10, 60), (20, 60), (60,), (20,), (20, 97), (97,))
    assert layout.kinds == ("weight", "weight", "weight", "bias", "bias", "weight", "bias")
    assert layout.depths == (0, 1, 1, 1, 1, 2, 2)
    assert "cell.candidate_bias" not in CharRNN(cell="rnn").layout.names
    tasks = family.build([family.sample(torch.Generator())])
    tensors = layout.unflatten(tasks.init_params([0])[0])
    for name, std in (("embedding.weight", 1.0), ("cell.input_weight", 10**-0.5), ("head.weight", 20**-0.5)):
        assert abs(tensors[name].std() / std - 1) < 0.1, name
    assert not any(tensors[name].any() for name in ("cell.bias", "cell.candidate_bias", "head.bias"))


def test_minibatches_are_windows_of_the_text() -> None:
    family = CharRNN(length=7, batch_size=9)
    tasks = family.build([family.sample(torch.Generator())] * 2)
    batch = tasks.draw_batch([3, 4])
    assert batch.shape == (2, 9)
    assert batch.min() >= 0
    assert batch.max() < len(load_text("unicode-names").codes) - 7


def test_many_instances_go_in_chunks() -> None:
    family = CharRNN(embedding=2, hidden=2, length=100, batch_size=50)
    assert family.build([family.sample(torch.Generator())] * 3).chunk == 1
    assert (
        CharRNN(length=16, batch_size=16).build([CharRNN(length=16, batch_size=16).sample(torch.Generator())]).chunk
        == 32
    )


def test_published_sizes() -> None:
    shapes = {name: CharRNN(**{**named.defaults, **named.fixed}).layout.size for name, named in NAMED.items()}
    assert shapes == {"char-gru": 250_241, "char-gru-small": 3_641}


def test_a_user_text_too_short_for_the_length(tmp_path: Any) -> None:
    file = tmp_path / "short.txt"
    file.write_text("x" * 30)
    family = CharRNN(text=str(file), length=27)
    with pytest.raises(UserError, match=r"char-rnn\.length leaves no room in the train part.*use 26 or less"):
        family.build([family.sample(torch.Generator())])
    fits = CharRNN(text=str(file), length=26, batch_size=2)
    tasks = fits.build([fits.sample(torch.Generator())])
    assert tasks.draw_batch([0]).tolist() == [[0, 0]]
    assert math.isfinite(tasks.loss_and_grad(tasks.init_params([0]), tasks.draw_batch([0]))[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"cell": "lstm"}, "unknown cell: got 'lstm'; .*gru.*rnn"),
        ({"text": "a/b"}, "name of a text"),
        ({"split": "valid"}, "unknown split"),
        ({"hidden": 0}, r"char-rnn\.hidden is out of range: got 0; use a number of 1 or more"),
        ({"embedding": -1}, r"char-rnn\.embedding"),
        ({"length": 0}, r"char-rnn\.length"),
        ({"batch_size": 0}, r"char-rnn\.batch_size"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CharRNN(**bad)
