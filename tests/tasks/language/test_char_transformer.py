from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.language.char_transformer import NAMED, CharTransformer
from rayl2o.tasks.language.next_character import embed
from rayl2o.tasks.language.text import load_text
from tests.tasks.language.character_networks import TRANSPOSED, Transformer

SMALL = CharTransformer(d_model=6, heads=3, layers=2, length=7, batch_size=4)


def test_it_is_torchs_own_network() -> None:
    tasks = SMALL.build([SMALL.sample(torch.Generator())] * 3, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    params = tasks.init_params([1, 2, 3])
    params = params + 0.3 * torch.randn(params.shape, generator=rng, dtype=torch.float64)
    batch = tasks.draw_batch([4, 5, 6])
    loss, grad = tasks.loss_and_grad(params, batch)
    windows = load_text("unicode-names").windows(batch, SMALL.length)
    for k in range(3):
        network = Transformer(SMALL, tasks.layout.unflatten(params[k]))
        expected = network(windows[k])
        torch.testing.assert_close(loss[k], expected.detach(), rtol=1e-11, atol=0)
        names, parameters = zip(*network.named_parameters(), strict=True)
        ours = tasks.layout.unflatten(grad[k])
        for name, slope in zip(names, torch.autograd.grad(expected, parameters), strict=True):
            own = slope.T if name.endswith(TRANSPOSED) else slope
            torch.testing.assert_close(ours[name], own, rtol=1e-9, atol=1e-13)


def test_nothing_is_seen_before_its_time() -> None:
    tensors = SMALL.layout.unflatten(torch.randn(1, SMALL.layout.size, generator=torch.Generator().manual_seed(0)))
    inputs = torch.tensor([[[1, 2, 3, 4, 5, 6, 7]]])
    changed = torch.tensor([[[1, 2, 3, 4, 9, 9, 9]]])
    one, two = SMALL.logits(tensors, inputs), SMALL.logits(tensors, changed)
    assert torch.equal(one[0, :4], two[0, :4])
    assert (one[0, 4:] != two[0, 4:]).any(1).all()


def test_layout_and_start() -> None:
    family = CharTransformer(d_model=48, heads=4, layers=2, length=20)
    layout = family.layout
    assert layout.names[:4] == (
        "embedding.weight",
        "position.weight",
        "layer_0.attention.norm.weight",
        "layer_0.attention.norm.bias",
    )
    assert {layout.kinds[i] for i, name in enumerate(layout.names) if "norm" in name} == {"norm"}
    assert layout.depths[-1] == 3
    d = 48
    assert layout.size == 97 * d + 20 * d + 2 * (12 * d * d + 13 * d) + 2 * d + 97 * d + 97
    tasks = family.build([family.sample(torch.Generator())])
    tensors = layout.unflatten(tasks.init_params([0])[0])
    assert abs(tensors["layer_1.network.read.weight"].std() / 0.02 - 1) < 0.05
    assert abs(tensors["layer_1.network.write.weight"].std() / 0.01 - 1) < 0.05
    assert torch.equal(tensors["norm.weight"], torch.ones(d))
    assert not tensors["norm.bias"].any()
    assert not tensors["layer_0.attention.read.bias"].any()


def test_published_sizes() -> None:
    sizes = {name: CharTransformer(**{**named.defaults, **named.fixed}).layout.size for name, named in NAMED.items()}
    assert sizes == {"char-gpt": 10_820_449, "char-gpt-small": 10_049}


def test_every_instance_has_its_own_table() -> None:
    tables = torch.arange(12.0).view(2, 3, 2)
    rows = torch.tensor([[0, 2], [1, 1]])
    assert embed(tables, rows).tolist() == [[[0, 1], [4, 5]], [[8, 9], [8, 9]]]
    assert torch.equal(embed(tables, rows.T, axis=1), embed(tables, rows).transpose(0, 1))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"heads": 3}, r"char-transformer\.heads does not divide d_model: got 3; use a divisor of d_model, 32"),
        ({"heads": 0}, r"char-transformer\.heads is out of range"),
        ({"d_model": 0}, r"char-transformer\.d_model"),
        ({"layers": 0}, r"char-transformer\.layers"),
        ({"length": 0}, r"char-transformer\.length"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CharTransformer(**bad)
