"""A layout cuts a flat vector and puts it together again."""

from __future__ import annotations

import json

import pytest
import torch

from rayl2o.layout import Layout

LAYOUT = Layout(("w", "b", "s"), ((3, 2), (2,), ()), ("weight", "bias", "scalar"), (0, 0, 1))


def test_counts() -> None:
    assert (LAYOUT.size, LAYOUT.tensors, LAYOUT.sizes, LAYOUT.offsets) == (9, 3, (6, 2, 1), (0, 6, 8))
    assert LAYOUT.tensor_index().tolist() == [0] * 6 + [1] * 2 + [2]
    assert Layout.flat(4).sizes == (4,)


def test_unflatten_gives_views_and_flatten_inverts_it() -> None:
    params = torch.arange(18.0).reshape(2, 9)
    parts = LAYOUT.unflatten(params)
    assert {name: tuple(part.shape) for name, part in parts.items()} == {"w": (2, 3, 2), "b": (2, 2), "s": (2,)}
    assert parts["w"].data_ptr() == params.data_ptr()
    assert torch.equal(LAYOUT.flatten(parts), params)
    single = LAYOUT.unflatten(params[0])
    assert torch.equal(LAYOUT.flatten(single, batch_dims=0), params[0])


def test_json_round_trip() -> None:
    assert Layout.from_json(json.loads(json.dumps(LAYOUT.to_json()))) == LAYOUT


def test_wrong_length() -> None:
    with pytest.raises(ValueError, match="9 coordinates"):
        LAYOUT.unflatten(torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("names", "kinds", "words"),
    [
        (("a", "a"), ("weight", "bias"), "differ"),
        (("a", "b"), ("weight", "bais"), "kinds"),
        (("a",), ("weight",), "one name"),
    ],
)
def test_nonsense_is_refused(names: tuple[str, ...], kinds: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Layout(names, ((1,), (1,)), kinds, (0, 0))
